"""How shards hear that one of them has lost its memory, and what is left of the nodes that they stood on."""

import gc
import weakref
from types import SimpleNamespace

import pytest

from everfresh.model.dependency import Tag
from everfresh.stores.redis import nodes
from everfresh.stores.redis.addresses import address_of
from everfresh.stores.redis.nodes import Nodes
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import Done, Part, Parts, shard_of
from everfresh.stores.redis.sharding_events import later
from everfresh.stores.redis.sharding_steps import Hear
from everfresh.testing.by_hand import ByHand
from tests.redis_servers import RedisServer, new_prefix

N_SHARDS = 4
LOST = 2


class Stalls(ShardedStore):
    """Stands still once, just before it has the shards hear of something, while `meanwhile` happens."""

    def __init__(self, url: str, n_shards: int) -> None:
        self.meanwhile = self._nothing
        super().__init__(url, n_shards)

    def _nothing(self) -> None:
        """Nothing happens."""

    def _run(self, steps: Parts[object]) -> object:
        return super()._run(self._stalling(steps))

    def _stalling(self, steps: Parts[object]) -> Parts[object]:
        dones: list[Done] | None = None
        try:
            while True:
                parts: list[Part] = list(steps.send(dones) if dones is not None else next(steps))
                if any(isinstance(part.request, Hear) for part in parts):
                    meanwhile, self.meanwhile = self.meanwhile, self._nothing
                    meanwhile()
                dones = list((yield parts))
        except StopIteration as stop:
            return stop.value


class Map:
    """The driver's map of a Cluster, with one node for all slots."""

    def __init__(self, name: str) -> None:
        self.nodes_manager = self
        self.slots_cache: dict[int, list[SimpleNamespace]] = {}
        self.next_name = name
        self.initialize()

    def initialize(self, **_: object) -> None:
        """Ask who serves what."""
        host, port = self.next_name.split(":")
        self.slots_cache = {0: [SimpleNamespace(name=self.next_name, host=host, port=port)]}

    def close(self) -> None:
        """Nothing is open."""


def test_who_told_of_a_life_that_was_over_tells_of_the_next(shared_redis: RedisServer) -> None:
    """It may have stood still while that life ended too, and all but it had heard so."""
    prefix = new_prefix()
    url = f"{shared_redis.url}?prefix={prefix}"
    stalled, other = Stalls(url, N_SHARDS), ShardedStore(url, N_SHARDS)

    def lose() -> None:
        with shared_redis.client() as client:
            client.delete(f"{prefix}:{{s{LOST}}}:m")

    def lose_again() -> None:
        lose()
        ByHand(other).touch(Tag("a"))

    lose()
    stalled.meanwhile = lose_again
    ByHand(stalled).enqueue(next(f"k{number}" for number in range(100) if shard_of(f"k{number}", N_SHARDS) == LOST))

    epoch = other.shards[LOST].epoch
    with shared_redis.client() as client:
        heard = [client.hget(f"{prefix}:{{s{shard}}}:l", str(LOST)) for shard in range(N_SHARDS) if shard != LOST]
    assert heard == [epoch.encode()] * (N_SHARDS - 1)
    assert stalled.sharding.epochs[LOST] == epoch
    stalled.close()
    other.close()


@pytest.mark.parametrize(
    ("place", "other", "expected"),
    [
        (("a", 7), ("a", 9), ("a", 9)),
        (("a", 9), ("a", 7), ("a", 9)),
        (("f", 9), ("0", 1), ("0", 1)),
        (("0", 1), ("f", 9), ("0", 1)),
    ],
)
def test_of_two_lives_the_one_that_goes_on_is_later(
    place: tuple[str, int], other: tuple[str, int], expected: tuple[str, int]
) -> None:
    """Their names have no order."""
    epoch = "0" if "0" in (place[0], other[0]) else "a"

    assert later(place, other, epoch) == expected


def test_a_node_that_serves_nothing_any_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nodes come and go, each under a name of its own, a process would keep all that there ever were."""
    made = Map("10.0.0.1:7000")
    monkeypatch.setattr(nodes, "map_of", lambda _: made)
    found = Nodes(address_of("redis+cluster://10.0.0.1:7000"))
    node = found.found(0)
    gone = weakref.ref(node)
    made.next_name = "10.0.0.2:7000"
    found.note_failure(node)

    assert found.found(0).name == "10.0.0.2:7000"

    del node
    gc.collect()
    assert gone() is None
    found.close()
