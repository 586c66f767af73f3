"""The refresh queue over shards: what was seen a moment ago is taken, and others are not kept waiting for it."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from everfresh.model.entry import Terms
from everfresh.protocol.queueing import Enqueue
from everfresh.stores.redis import sharding_queue
from everfresh.stores.redis.identity import AnotherRun
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import Done, Parts
from everfresh.stores.redis.sharding_queue import KNOWN_S, Known
from everfresh.stores.redis.sharding_steps import Peeked
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, new_prefix

N_SHARDS = 16
N_KEYS = 400
URGENT = Terms(priority=5)


class TakesMeanwhile(ShardedStore):
    """Does something else once, when all that it will queue is decided, and nothing of it is queued."""

    def __init__(self, url: str, n_shards: int) -> None:
        self.meanwhile: Callable[[], object] | None = None
        super().__init__(url, n_shards)

    def _run(self, steps: Parts[object]) -> object:
        return super()._run(self._between(steps))

    def _between(self, steps: Parts[object]) -> Parts[object]:
        dones: Sequence[Done] | None = None
        try:
            while True:
                parts = steps.send(dones) if dones is not None else next(steps)
                meanwhile = self.meanwhile
                if meanwhile is not None and any(isinstance(part.request, Enqueue) for part in parts):
                    self.meanwhile = None
                    meanwhile()
                dones = yield parts
        except StopIteration as stop:
            return stop.value


@pytest.fixture
def url(shared_redis: RedisServer) -> str:
    return f"{shared_redis.url}?prefix={new_prefix()}"


@pytest.fixture
def store(url: str) -> Iterator[ShardedStore]:
    """With many entries that are due."""
    store = ShardedStore(url, N_SHARDS)
    ByHand(store).enqueue(*(f"k{number}" for number in range(N_KEYS)))
    yield store
    store.close()


def test_what_was_seen_is_taken_without_another_look(
    store: ShardedStore, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entry once, though several rounds go by one look."""
    # However slow the machine is, it does not grow old.
    monkeypatch.setattr(sharding_queue, "KNOWN_S", 60.0)
    hand = ByHand(store)
    hand.take(10)
    before = _n_scripts(shared_redis)

    again = hand.take(10)

    assert len(again) == 10
    # To look takes sixteen, and to take from all of them as many.
    assert _n_scripts(shared_redis) - before < N_SHARDS


def test_all_are_taken_once(store: ShardedStore) -> None:
    """Whatever was seen, and however long ago."""
    hand = ByHand(store)
    taken: list[str] = []

    while due := hand.take(7):
        taken += [one.lease.key for one in due]

    assert sorted(taken) == sorted(f"k{number}" for number in range(N_KEYS))


def test_what_this_process_has_queued_since_is_seen(store: ShardedStore) -> None:
    """It knows of that."""
    hand = ByHand(store)
    hand.take(1)

    hand.enqueue("urgent", terms=URGENT)

    assert [due.lease.key for due in hand.take(1)] == ["urgent"]


def test_what_another_process_has_queued_since_is_seen_soon(store: ShardedStore, url: str) -> None:
    """Long before all that was seen is taken."""
    hand, other = ByHand(store), ShardedStore(url, N_SHARDS)
    hand.take(1)
    ByHand(other).enqueue("urgent", terms=URGENT)
    n_taken = 0

    def is_urgent() -> bool:
        nonlocal n_taken
        n_taken += 1
        return [due.lease.key for due in hand.take(1)] == ["urgent"]

    until(is_urgent, what="the urgent one")
    assert n_taken < N_KEYS // 2
    other.close()


def test_what_was_seen_grows_old() -> None:
    """Others may have queued what is more urgent, and nobody tells."""
    now = [0.0]
    known = Known(lambda: now[0])
    seen = [Peeked(((0, (1.0,), None, False),), 0.0)]

    known.put(("f",), now[0], seen)
    assert known.take(("f",)) == (0.0, seen)
    assert known.take(("f",)) is None
    known.put(("f",), now[0], seen)
    now[0] += KNOWN_S

    assert known.take(("f",)) is None


def test_what_was_seen_before_more_fell_due_is_not_taken_up_again() -> None:
    """Who looked then does not know of it, and may only now say what is left."""
    now = [1.0]
    known = Known(lambda: now[0])
    seen_at = now[0]
    now[0] += KNOWN_S / 4
    known.forget()

    known.put(("f",), seen_at, [Peeked(((0, (1.0,), None, False),), 0.0)])

    assert known.take(("f",)) is None


def test_what_falls_due_while_somebody_looks_is_seen(url: str) -> None:
    """Of what was seen before that, nothing is taken afterwards."""
    store = TakesMeanwhile(url, N_SHARDS)
    hand = ByHand(store)
    hand.enqueue(*(f"k{number}" for number in range(N_KEYS)))
    store.meanwhile = lambda: hand.take(1)

    hand.enqueue("urgent", terms=URGENT)

    assert [due.lease.key for due in hand.take(1)] == ["urgent"]
    store.close()


def test_two_processes_take_nothing_twice(store: ShardedStore, url: str) -> None:
    """What one has seen the other may take."""
    other = ShardedStore(url, N_SHARDS)
    hands = ByHand(store), ByHand(other)
    taken: list[str] = []

    def is_empty() -> bool:
        some = [due.lease.key for hand in hands for due in hand.take(9)]
        taken.extend(some)
        return not some

    until(is_empty, what="an empty queue")
    assert sorted(taken) == sorted(f"k{number}" for number in range(N_KEYS))
    other.close()


def test_a_reply_counts_only_while_its_shard_is_where_it_was_asked(store: ShardedStore) -> None:
    """When its node is another one by now, or another run of it, nobody knows what was answered."""
    standing, neighbour = (shard.standing for shard in store.shards[:2])
    place = standing.place()
    standing.check(place)

    neighbour.place().node.identity.forget()

    with pytest.raises(AnotherRun):
        standing.check(place)
    store.shards[0].look_again()
    with pytest.raises(AnotherRun):
        standing.check(place)
    standing.check(standing.place())


def _n_scripts(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("commandstats")["cmdstat_fcall"]["calls"])
