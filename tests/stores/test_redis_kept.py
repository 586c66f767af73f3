"""What steps leave to those after them: tables of rows, what is known of feed and marks, answers in few bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, State
from everfresh.protocol.requests import Committed, ReadFeed
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.wire import decode
from everfresh.testing.by_hand import ByHand, commit_of
from tests.redis_servers import RedisServer, new_prefix

A = Tag("a")
# More than so many records later all of the feed has been looked at once.
N_LATER = 70


@pytest.fixture
def prefix() -> str:
    """What the names of this test's keys begin with."""
    return new_prefix()


@pytest.fixture
def hand(shared_redis: RedisServer, prefix: str) -> Iterator[ByHand]:
    """A store with that prefix."""
    with closing(RedisStore(f"{shared_redis.url}?prefix={prefix}")) as store:
        yield ByHand(store)


@pytest.fixture
def client(shared_redis: RedisServer) -> Iterator[redis.Redis]:
    """Somebody who meddles."""
    with shared_redis.client() as client:
        yield client


def test_a_row_is_what_its_bytes_say(hand: ByHand, prefix: str, client: redis.Redis) -> None:
    """What a step remembers of it counts only while nobody else has written it."""
    name = f"{prefix}:{{s0}}:r:k"
    hand.build("k", 1, A)
    client.copy(name, f"{name}:before")
    hand.touch(A)
    client.rename(f"{name}:before", name)

    assert hand.explain("k").listed.state is State.FRESH


def test_a_row_that_is_gone_is_not_remembered(hand: ByHand, prefix: str, client: redis.Redis) -> None:
    """Whoever asks for it is told so."""
    hand.build("k", 1, A)
    hand.touch(A)
    client.delete(f"{prefix}:{{s0}}:r:k")

    assert hand.state("k") is None
    assert hand.delete("k") == 0


def test_more_rows_than_are_remembered_are_read_again(hand: ByHand) -> None:
    """Each is the entry that it was."""
    keys = [f"k{number}" for number in range(100)]
    for key in keys:
        hand.build(key, key, A)

    assert set(hand.touch(A).touched) == set(keys)
    assert {due.lease.key for due in hand.take()} == set(keys)
    assert [hand.value(key) for key in keys] == keys


@pytest.mark.parametrize("whole", [True, False])
def test_a_feed_that_was_lost_starts_readers_over_once(
    hand: ByHand, prefix: str, client: redis.Redis, *, whole: bool
) -> None:
    """Nobody may miss what is not there; and after a while nobody starts over any more."""
    name = f"{prefix}:{{s0}}:x"
    hand.build("k", 1, A)
    before = hand.position()
    hand.build("k", 2, A)
    hand.build("k", 3, A)
    if whole:
        client.delete(name)
    else:
        client.xtrim(name, maxlen=1, approximate=False)

    hand.build("k", 4, A)
    assert hand.store.carry_out(ReadFeed(before)).is_reset

    for number in range(N_LATER):
        hand.build("k", -number, A)
    later = hand.position()
    hand.build("k", 5, A)
    batch = hand.store.carry_out(ReadFeed(later))
    assert (batch.is_reset, [record.key for record in batch.records]) == (False, ["k"])


def test_a_commit_that_is_sent_again_is_answered_as_before(hand: ByHand) -> None:
    """Its answer was lost, and is kept in few bytes, from which the whole of it is known."""
    store = hand.store
    assert isinstance(store, RedisStore)
    request = commit_of(hand.lease("k"), 1, A)
    sent = store.sender.sent(request)

    first, again = (store.clients.blocking.run(sent.script, store.key, sent.arguments) for _ in range(2))

    assert list(first) == list(again)
    decoded = decode(request, first)
    assert isinstance(decoded.answer, Committed)
    assert decoded.answer.entry == hand.entry("k")
    assert [record.kind for record in decoded.records] == [Kind.CHANGED]


def test_who_was_built_from_an_entry_is_looked_for_where_somebody_may_have_been(
    hand: ByHand, client: redis.Redis
) -> None:
    """The counters tell how many parts of the index have such entries; where none has, no commit asks."""
    hand.build("inner", 1, A)
    n_before = _n_calls(client, "smismember")

    hand.build("inner", 2, A)
    assert _n_calls(client, "smismember") == n_before

    hand.build("outer", 1, seen={"inner": 2})
    hand.build("inner", 3, A)
    assert hand.state("outer") is State.DIRTY
    n_asked = _n_calls(client, "smismember")
    assert n_asked > n_before

    hand.delete("outer")
    n_asked = _n_calls(client, "smismember")
    hand.build("inner", 4, A)
    assert _n_calls(client, "smismember") == n_asked


def test_who_was_built_before_the_counters_were_lost_is_found(hand: ByHand, prefix: str, client: redis.Redis) -> None:
    """The links of an entry are still there when it is built anew, and are not counted a second time."""
    hand.build("inner", 1, A)
    hand.build("outer", 1, seen={"inner": 1})
    client.delete(f"{prefix}:{{s0}}:m")
    hand.build("inner", 1, A)
    hand.build("outer", 1, seen={"inner": 1})
    assert hand.state("outer") is State.FRESH

    hand.build("inner", 2, A)

    assert hand.state("outer") is State.DIRTY


def test_only_a_build_during_which_something_fired_asks_about_marks(hand: ByHand, client: redis.Redis) -> None:
    """Where nothing did, no mark can be newer than its lease."""
    hand.build("k", 1, A)
    hand.touch(A)
    before = _n_calls(client, "zmscore")

    hand.build("k", 2, A)

    assert _n_calls(client, "zmscore") == before
    lease = hand.lease("k")
    hand.touch(Tag("b"))
    hand.commit(lease, 3, A)
    assert _n_calls(client, "zmscore") == before + 1
    assert hand.state("k") is State.FRESH


def _n_calls(client: redis.Redis, command: str) -> int:
    stats: Any = client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])
