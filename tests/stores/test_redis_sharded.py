"""The store on several shards of Redis, held to the contract.

What a test of the contract asks of the one order of a store, several shards do not have; each such test is named here,
with what there is instead.
"""

import pytest

from everfresh.stores.redis.sharded import ShardedStore
from everfresh.testing.store_contract import LastingStoreContract, MakeStore, OpenStore
from tests.redis_servers import RedisServer, new_prefix

N_SHARDS = 16

VECTOR = "the position of a store is one of each shard, and that of an entry is its shard's alone"
ORDER = "between two shards nothing says which came first"
SHARE = "each shard holds its share of the room, and lets go of what was read longest ago of its own"
SWEEP = "what is over is cleared away by who writes to the same shard"
LIST = "the list of shapes that publishers know has a name of its own"
EACH = "each shard tells by itself"
OTHERWISE = {
    "test_a_commit_is_fresh": VECTOR,
    "test_a_put_leaves_nothing_of_what_was_built": VECTOR,
    "test_a_distrusted_entry_is_well_after_its_build": VECTOR,
    "test_records_are_in_order": VECTOR,
    "test_the_feed_resumes_from_any_position": VECTOR,
    "test_the_feed_is_read_in_batches": ORDER,
    "test_a_position_before_what_is_kept_starts_over": VECTOR,
    "test_events_of_one_request_are_one_step": VECTOR,
    "test_a_job_that_nobody_began_is_given_up": ORDER,
    "test_what_nobody_reads_is_dropped_instead_of_refreshed": ORDER,
    "test_what_went_with_a_cold_entry_is_not_taken": ORDER,
    "test_each_function_has_its_own_limit": ORDER,
    "test_an_entry_that_came_between_is_touched": ORDER,
    "test_distrust_begins_a_new_life": EACH,
    "test_publishers_learn_of_new_shapes": LIST,
    "test_publishers_learn_of_shapes_that_came_since": LIST,
    "test_publishers_learn_that_the_list_is_another_one": LIST,
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
