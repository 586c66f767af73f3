"""The feed with entries along with it: as both are told one by one, but in one packet."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from redis import exceptions

from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, Kind
from everfresh.model.position import Position
from everfresh.protocol.requests import Load, ReadFeed
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.clients import LoopClient
from everfresh.stores.redis.loop_lines import Asked, LoopLine
from everfresh.testing.by_hand import ByHand
from tests.redis_servers import RedisServer

A, B, MISSING = Key("a"), Key("b"), Key("missing")
TAG = Tag("tag")


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """A store with two entries; its life has begun."""
    with closing(RedisStore(redis_url)) as store:
        hand = ByHand(store)
        hand.build(A, 1, TAG)
        hand.build(B, 2)
        yield store


@pytest.fixture
def begin(store: RedisStore) -> Position:
    """Before all of it, after the first record of that life."""
    end = ByHand(store).position()
    return Position(end.epoch, 0)


async def test_both_are_told_as_if_they_were_asked_for_one_by_one(store: RedisStore, begin: Position) -> None:
    """Of what is not there nothing comes."""
    batch = await store.carry_out_async(ReadFeed(begin))
    loaded = [await store.carry_out_async(Load(key)) for key in (A, B)]

    brought = await store.read_along(ReadFeed(begin), [B, MISSING, A])

    assert (brought.records, brought.position, brought.is_reset) == (batch.records, batch.position, batch.is_reset)
    assert brought.entries == {one.entry.key: one.entry for one in loaded if one.entry is not None}
    assert len(brought.entries) == 2


async def test_they_travel_in_one_packet(store: RedisStore, begin: Position, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed first: what comes with it is no older than its records."""
    await store.read_along(ReadFeed(begin), [A])
    packets: list[list[bytes]] = []
    send = LoopLine.send

    def noting(self: LoopLine, some: Sequence[Asked]) -> None:
        packets.append([asked.commands for asked in some])
        send(self, some)

    monkeypatch.setattr(LoopLine, "send", noting)
    await store.read_along(ReadFeed(begin), [A, B])

    ((commands,),) = packets
    assert 0 < commands.index(b"FCALL") < commands.index(b"MGET")
    assert commands.count(b"MGET") == 2


async def test_where_the_server_has_to_be_told_something_first_the_feed_alone_comes(
    store: RedisStore, begin: Position, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after it has forgotten its functions; whoever wants an entry asks for it."""

    async def refused(self: LoopClient, commands: bytes, n_replies: int) -> list[object]:
        raise exceptions.ResponseError("Function not found")

    monkeypatch.setattr(LoopClient, "send", refused)

    brought = await store.read_along(ReadFeed(begin), [A])

    assert [record.key for record in brought.records if record.kind is Kind.CHANGED] == [A, B]
    assert brought.entries == {}


async def test_an_entry_that_needs_a_script_does_not_come_along(store: RedisStore, begin: Position) -> None:
    """One that is suspect, as what it was built from has to be looked at."""
    hand = ByHand(store)
    hand.build("outer", 3, seen={A: 1})
    hand.touch(TAG)

    brought = await store.read_along(ReadFeed(begin), [Key("outer"), B])

    assert brought.entries.keys() == {B}


@pytest.mark.parametrize("along", [(), (A,)])
async def test_a_step_in_a_loop_that_meets_damage_is_sent_anew_to_go_on_without_it(
    store: RedisStore, begin: Position, redis_url: str, shared_redis: RedisServer, along: tuple[Key, ...]
) -> None:
    """The second try is another packet than the first, and whoever follows starts over."""
    _damage(redis_url, shared_redis)

    request = ReadFeed(begin)
    batch = await (store.read_along(request, along) if along else store.carry_out_async(request))

    assert batch.is_reset


def _damage(url: str, server: RedisServer) -> None:
    """Have something else stand in the place of the feed."""
    prefix = url.partition("?prefix=")[2]
    with server.client() as client:
        client.delete(f"{prefix}:{{s0}}:x")
        client.set(f"{prefix}:{{s0}}:x", "mine")
