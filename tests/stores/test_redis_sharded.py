"""The store on several shards of Redis, held to the contract.

What a test of the contract asks of the one order of a store, several shards do not have; each such test is named here,
with what there is instead.
"""

from contextlib import closing
from math import inf
from typing import Any

import pytest

from everfresh.model.conditions import lt
from everfresh.model.dependency import Scope
from everfresh.model.entry import State
from everfresh.model.event import Event
from everfresh.protocol.inspecting import Count
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import share_of
from everfresh.stores.tables import Room
from everfresh.testing.by_hand import ByHand
from everfresh.testing.store_contract import LastingStoreContract, MakeStore, OpenStore
from tests.redis_servers import RedisServer, new_prefix

N_SHARDS = 16

SIDE_BY_SIDE = "what is due on two shards is taken side by side, whatever one of the steps drops on another"
KEPT = "each shard keeps as many records as one store does"
SHARE = "each shard holds its share of the room, and lets go of what was read longest ago of its own"
SWEEP = "what is over is cleared away by who writes to the same shard"
OTHERWISE = {
    "test_a_position_before_what_is_kept_starts_over": KEPT,
    "test_what_went_with_a_cold_entry_is_not_taken": SIDE_BY_SIDE,
    "test_expired_values_are_cleared_away_by_later_puts": SWEEP,
    "test_commits_clear_away_what_is_over": SWEEP,
    "test_what_is_over_is_cleared_away_whoever_stands_before_it": SWEEP,
    "test_what_was_read_longest_ago_goes": SHARE,
    "test_what_was_never_read_goes_by_when_it_came": SHARE,
    "test_nothing_goes_while_there_is_room": SHARE,
    "test_what_goes_is_told": SHARE,
    "test_what_is_known_to_be_used_stays": SHARE,
    "test_there_are_never_more_though_all_are_used": SHARE,
    "test_what_is_used_keeps_what_it_was_built_from": SHARE,
    "test_if_all_are_used_the_one_goes_that_was_read_longest_ago": SHARE,
    "test_what_was_built_from_one_that_goes_goes_with_it": SHARE,
    "test_what_leaves_no_room_for_what_it_was_built_from_is_not_kept": SHARE,
    "test_what_is_being_built_stays": SHARE,
    "test_bytes_are_bounded": SHARE,
    "test_a_value_that_grows_needs_room_too": SHARE,
    "test_a_value_as_large_as_all_room_is_kept_alone": SHARE,
    "test_whatever_happens_the_counts_are_right": SHARE,
}


def test_all_shards_together_hold_no_more_than_there_is_room_for(redis_url: str) -> None:
    """Each holds its share, and the shares are as much as the whole; though all are used."""
    store = ShardedStore(redis_url, N_SHARDS, room=Room(max_entries=50))
    hand = ByHand(store)
    hand.store.ask_last_read(lambda _: inf)

    for number in range(300):
        hand.put(f"k{number}", 1)

    assert store.carry_out(Count()).n_known == 50
    store.close()


@pytest.mark.parametrize("n_max", [16, 17, 50, 1_000_003])
def test_the_shares_of_all_shards_are_the_whole(n_max: int) -> None:
    """Of entries and of bytes."""
    shares = [share_of(Room(n_max, 2 * n_max), N_SHARDS, shard) for shard in range(N_SHARDS)]

    assert sum(share.max_entries or 0 for share in shares) == n_max
    assert sum(share.max_bytes or 0 for share in shares) == 2 * n_max


def test_each_shard_may_hold_one_entry(redis_url: str) -> None:
    """Also where there is less room than there are shards: else some keys could never be kept."""
    store = ShardedStore(redis_url, N_SHARDS, room=Room(max_entries=1))
    hand = ByHand(store)

    for number in range(100):
        hand.put(f"k{number}", 1)
        assert hand.entry(f"k{number}").state is State.FRESH

    assert store.carry_out(Count()).n_known <= N_SHARDS
    store.close()


def test_a_shard_does_not_look_for_what_nobody_there_hangs_on(redis_url: str, shared_redis: RedisServer) -> None:
    """An event that names whole shapes goes to all shards: that would take a busy server seconds."""
    with closing(ShardedStore(redis_url, N_SHARDS)) as store, shared_redis.client() as client:
        hand = ByHand(store)
        hand.build("cheap", 1, Scope("book", {"genre": "sf", "price": lt(9)}))
        client.config_resetstat()

        assert hand.publish(Event.unknown("book")).touched == ("cheap",)

        stats: Any = client.info("commandstats")
        assert stats.get("cmdstat_exists", {"calls": 0})["calls"] < N_SHARDS


class TestShardedStore(LastingStoreContract):
    @pytest.fixture(autouse=True)
    def otherwise(self, request: pytest.FixtureRequest) -> None:
        """Pass over what is otherwise with several shards."""
        name = request.node.name.partition("[")[0]
        if name in OTHERWISE:
            pytest.skip(OTHERWISE[name])

    @pytest.fixture
    def open_store(self, redis_url: str) -> OpenStore:
        return lambda clock: ShardedStore(redis_url, N_SHARDS, clock=clock)

    @pytest.fixture
    def make_store(self, shared_redis: RedisServer) -> MakeStore:
        return lambda clock, room: ShardedStore(
            f"{shared_redis.url}?prefix={new_prefix()}", N_SHARDS, clock=clock, room=room
        )
