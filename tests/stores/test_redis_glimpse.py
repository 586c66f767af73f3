"""The reading that goes without a script: what it answers, when it leaves that to the script, and that it is used."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import msgspec
import pytest
import redis
import redis.asyncio
from redis import exceptions

from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, OnChange, Recipe, State, Terms
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Load, Loaded, LoadMany
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.glimpse import glimpsed, question_of, time_of
from everfresh.stores.redis.packets import Packets
from everfresh.stores.redis.reading import Lines
from everfresh.testing.by_hand import FINGERPRINT, FUNCTION, ByHand
from everfresh.testing.clock import FakeClock
from tests.redis_servers import HOST, RedisServer, new_prefix

NOW = 1000.0
A = Tag("a")
KEY = Key("k")
_COUNTERS = struct.pack("<B17d", 0xD1, 5, *(0.0,) * 5, 4, *(0.0,) * 10) + b"".join(
    map(msgspec.msgpack.encode, ("e1", 900, 900.5, "lost", 77, [77]))
)
_NUMBERED = list(State)
_ROW: dict[str, Any] = {
    "life": 77,
    "state": "fresh",
    "func": "book",
    "args": b"arguments",
    "fingerprint": "f1",
    "digest": "d1",
    "version": 2,
    "good_from": 3,
    "changed_at": 4,
    "built_at": 990.5,
    "build_s": 0.25,
    "stale_since": None,
    "reason": "",
    "token": None,
    "until": 0.0,
    "read_at": 990.0,
}


def _packed_row(row: Mapping[str, Any]) -> bytes:
    """As Lua packs it, with all that only some rows have."""
    life, func = row["life"], (row["func"] or "").encode()
    flags = 7 + 8 * (row["func"] is not None) + 32 * (life < 0)
    whole = (row[name].to_bytes(6, "little") for name in ("version", "good_from", "changed_at"))
    texts = (func, row["fingerprint"].encode(), row["digest"].encode(), b"", b"call", row["args"], b"")
    none = math.nan
    stale_since, token = (none if row[name] is None else row[name] for name in ("stale_since", "token"))
    return b"".join(
        (
            bytes((0xE0 + _NUMBERED.index(State(row["state"])) + 1, flags)),
            (1).to_bytes(5, "little"),
            abs(life).to_bytes(5, "little"),
            *whole,
            struct.pack("<ddId", row["built_at"], row["build_s"], 5, row["read_at"]),
            struct.pack("<4HB2I", *map(len, texts)),
            *texts,
            struct.pack("<ddd", none, 0.0, none),
            struct.pack("<10d", stale_since, none, token, row["until"], 3.0, 0.0, 0.0, none, none, 0.0),
            struct.pack("<I", len(row["reason"])) + row["reason"].encode() + struct.pack("<5I", *(0,) * 5),
        )
    )


def _glimpsed(row: Mapping[str, Any] = _ROW, value: bytes | None = b"value") -> Loaded | None:
    found = (_COUNTERS, _packed_row({**_ROW, **row}), value)
    return glimpsed(Load(KEY), NOW, found)


def test_a_row_is_answered_with_its_value() -> None:
    """As the script would."""
    loaded = _glimpsed()

    assert loaded is not None
    assert loaded.entry is not None
    assert (loaded.entry.key, loaded.entry.value, loaded.entry.version) == (KEY, b"value", 2)
    assert (loaded.position.sequence, loaded.applied, loaded.now) == (5, 4, NOW)


@pytest.mark.parametrize("n_bytes", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_arguments_of_any_length_come_back(n_bytes: int) -> None:
    """They are bytes."""
    loaded = _glimpsed({"args": b"a" * n_bytes})

    assert loaded is not None
    assert loaded.recipe == Recipe("book", b"a" * n_bytes)


def test_of_an_entry_that_is_not_there_the_store_is_told() -> None:
    """Where it stands, and what time it is."""
    loaded = glimpsed(Load(KEY), NOW, (_COUNTERS, None, None))

    assert loaded is not None
    assert loaded.entry is None
    assert (loaded.position.text, loaded.applied, loaded.now) == ("e1.5", 4, NOW)


@pytest.mark.parametrize(
    "row",
    [{"life": 78}, {"life": -77}, {"state": "suspect", "stale_since": 990.0}],
    ids=["of another life", "not queued yet", "what it was built from is to be looked at"],
)
def test_what_is_not_foreseen_is_left_to_the_script(row: dict[str, object]) -> None:
    """It alone knows what follows."""
    assert _glimpsed(row) is None


@pytest.mark.parametrize("packed", [b"", b"\xc1junk", b"\xe1" * 300, b"\0" * 300])
def test_a_row_that_nobody_packed_is_left_to_the_script(packed: bytes) -> None:
    """It takes it away."""
    row = _packed_row(_ROW)

    assert glimpsed(Load(KEY), NOW, (_COUNTERS, packed, b"value")) is None
    assert glimpsed(Load(KEY), NOW, (_COUNTERS, row[:-1], b"value")) is None
    assert glimpsed(Load(KEY), NOW, (packed, row, b"value")) is None


def test_a_value_that_was_deleted_by_hand_is_left_to_the_script() -> None:
    """While an entry without a value yet has none, and is answered so."""
    first_build = _glimpsed({"version": 0, "state": "building", "token": 4, "until": NOW + 1}, None)

    assert _glimpsed(_ROW, None) is None
    assert first_build is not None
    assert (first_build.entry, first_build.is_leased) == (None, True)


def test_a_store_that_is_new_or_lost_is_left_to_the_script() -> None:
    """It begins a life."""
    assert glimpsed(Load(KEY), NOW, (None, None, None)) is None


def test_the_time_is_the_servers() -> None:
    """In seconds, to the microsecond."""
    assert time_of([b"1700000000", b"000012"]) == 1700000000.000012


def test_the_question_is_one_packet_of_two_commands() -> None:
    """Keys are counted in bytes."""
    asked = question_of(b"p:{s0}:m", Key("é"))

    assert asked == (
        b"*1\r\n$4\r\nTIME\r\n*4\r\n$4\r\nMGET\r\n"
        b"$8\r\np:{s0}:m\r\n$11\r\np:{s0}:r:\xc3\xa9\r\n$11\r\np:{s0}:v:\xc3\xa9\r\n"
    )


def test_half_a_surrogate_pair_is_refused() -> None:
    """As by the script's request."""
    with pytest.raises(UnicodeEncodeError):
        question_of(b"p:{s0}:m", Key("\ud800"))


# ----------------------------------------------------------------------------------------------- on a real server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def hand(redis_url: str, clock: FakeClock) -> Iterator[ByHand]:
    with closing(RedisStore(redis_url, clock=clock)) as store:
        yield ByHand(store)


def _built(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A)


def _touched(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A)
    hand.touch(A)


def _leased(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A)
    hand.lease("k")


def _begun(hand: ByHand, _: FakeClock) -> None:
    hand.lease("k")


def _failed(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A)
    hand.touch(A)
    hand.fail(hand.lease("k"), retry_in_s=None)


def _retried(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A)
    hand.touch(A)
    hand.fail(hand.lease("k"), retry_in_s=2.5)


def _expired(hand: ByHand, clock: FakeClock) -> None:
    hand.build("k", 1, A, terms=Terms(expires_s=5.0, on_change=OnChange.DROP, linger_s=100.0))
    clock.advance(6.0)


def _to_be_looked_at(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A, terms=Terms(settle_s=(1.0, 5.0)))
    hand.touch(A)
    hand.build("k", 1, A, terms=Terms(settle_s=(1.0, 5.0)))


def _put(hand: ByHand, _: FakeClock) -> None:
    hand.put("k", 1, A, expires_s=5.0)


def _put_and_expired(hand: ByHand, clock: FakeClock) -> None:
    hand.put("k", 1, A, expires_s=5.0)
    clock.advance(6.0)


def _suspect(hand: ByHand, _: FakeClock) -> None:
    hand.build("inner", 0, A)
    hand.build("k", 1, seen={"inner": 0})
    hand.touch(A)


def _distrusted(hand: ByHand, _: FakeClock) -> None:
    hand.build("k", 1, A)
    hand.store.carry_out(Distrust("a loss"))


def _queued(hand: ByHand, _: FakeClock) -> None:
    hand.enqueue("k")


def _nothing(hand: ByHand, _: FakeClock) -> None:
    hand.build("other", 1)


_STATES: list[Callable[[ByHand, FakeClock], None]] = [
    _built,
    _touched,
    _leased,
    _begun,
    _failed,
    _retried,
    _expired,
    _to_be_looked_at,
    _put,
    _put_and_expired,
    _suspect,
    _distrusted,
    _queued,
    _nothing,
]


@pytest.mark.parametrize("bring_about", _STATES, ids=lambda one: one.__name__.strip("_"))
@pytest.mark.parametrize("fingerprint", [None, FINGERPRINT, "another"])
def test_it_answers_what_the_script_answers(
    hand: ByHand, clock: FakeClock, fingerprint: str | None, bring_about: Callable[[ByHand, FakeClock], None]
) -> None:
    """Whatever the state of the entry; several at once are always read by the script."""
    bring_about(hand, clock)

    loaded = hand.store.carry_out(Load(KEY, fingerprint))

    assert (loaded,) == hand.store.carry_out(LoadMany((KEY,), fingerprint))


async def test_in_a_loop_it_answers_the_same(hand: ByHand) -> None:
    """Both clients read alike."""
    hand.build("k", 1, A)

    assert await hand.store.carry_out_async(Load(KEY)) == hand.store.carry_out(Load(KEY))


def _calls(client: redis.Redis) -> dict[str, int]:
    stats: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): of_command["calls"] for name, of_command in stats.items()}


async def test_a_hit_calls_no_script(shared_redis: RedisServer) -> None:
    """In a thread and in a loop; without a clock of its own, as it is used."""
    with closing(RedisStore(f"{shared_redis.url}?prefix={new_prefix()}")) as store, shared_redis.client() as client:
        hand = ByHand(store)
        hand.build("k", 1)
        await store.carry_out_async(Load(KEY))
        before = _calls(client)

        loaded = [hand.load("k"), await store.carry_out_async(Load(KEY)), hand.load("nothing")]

        after = _calls(client)
    assert [one.entry is not None for one in loaded] == [True, True, False]
    assert {name for name, n_calls in after.items() if n_calls != before.get(name)} <= {"mget", "time", "info"}


def test_a_value_that_somebody_deleted_is_a_miss(hand: ByHand, redis_url: str, shared_redis: RedisServer) -> None:
    """No error, and no value of another entry."""
    hand.build("k", 1)
    hand.build("other", 2)
    prefix = redis_url.partition("?prefix=")[2]
    with shared_redis.client() as client:
        assert client.delete(f"{prefix}:{{s0}}:v:k") == 1

    loaded = hand.load("k")

    assert loaded.entry is None
    assert loaded.recipe == Recipe(FUNCTION, b"k")
    assert hand.state("other") is State.FRESH


# -------------------------------------------------------------------------------------- when one of the two fails


@pytest.fixture
def barred_from_time(shared_redis: RedisServer) -> Iterator[str]:
    """A user who may do all but ask for the time."""
    name = f"barred-{new_prefix()}"
    with shared_redis.client() as client:
        client.acl_setuser(name, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-time"])
        yield name
        client.acl_deluser(name)


def test_a_reply_that_nobody_reads_is_not_taken_for_another(shared_redis: RedisServer, barred_from_time: str) -> None:
    """The second reply is still to come when the first is an error, and is read with it."""
    with redis.Redis(HOST, shared_redis.port, username=barred_from_time, password="", protocol=3) as client:
        client.set("k", "mine")

        with pytest.raises(exceptions.NoPermissionError):
            Lines(client).ask(question_of(b"p:{s0}:m", KEY), 2)

        assert client.get("k") == b"mine"


async def test_in_a_loop_too(shared_redis: RedisServer, barred_from_time: str) -> None:
    """As above."""
    async with redis.asyncio.Redis(
        host=HOST, port=shared_redis.port, username=barred_from_time, password="", protocol=3
    ) as client:
        await client.set("k", "mine")

        with pytest.raises(exceptions.NoPermissionError):
            await Packets(client, 2.0).ask(question_of(b"p:{s0}:m", KEY), 2)

        assert await client.get("k") == b"mine"
