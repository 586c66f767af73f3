"""What sources have in the store on Redis: when their offsets are written, and what becomes of keys that were lost."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import redis

from everfresh.matching.index import Shapes
from everfresh.model.dependency import Topic
from everfresh.model.entry import State
from everfresh.model.errors import StoreUnavailable
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.publishing import suspect, take_in
from everfresh.protocol.requests import Request
from everfresh.protocol.sourcing import (
    Offset,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Release,
    Report,
    Tell,
    Unreadable,
)
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.addresses import address_of
from everfresh.stores.redis.applying import MAX_TOUCHED, ApplyFirst, ApplyToShard, Touch, apply
from everfresh.stores.redis.resharding import reshard
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import Part, shard_of
from everfresh.stores.redis.sharding_steps import Carry, Delivered, Pending
from everfresh.stores.redis.sourcing import N_READ, N_SENT, KeepOffsets, QuarantineSome, ReadAfter, ReadIds, ReleaseSome
from everfresh.stores.store import Store
from everfresh.stores.urls import open_store
from everfresh.testing.by_hand import FUNCTION, ByHand
from tests.redis_proxy import Proxy, proxy_to
from tests.redis_servers import HOST, RedisServer, new_prefix, redis_server

BUG = Topic("bug.*")
BUG_CHANGED = Event("bug.update", {"bug": 7})
OLD, NEW = Offset("bus", "old"), Offset("bus", "new")
KINDS = ["offset:bus", "sources", "reports:bus", "quarantine", "unread", "quarantined"]
HARMS = ["another type", "junk", "packed otherwise", "deleted"]
N_SHARDS = 16


@pytest.fixture
def proxy(shared_redis: RedisServer) -> Iterator[Proxy]:
    with proxy_to(shared_redis.port) as proxy:
        yield proxy


def test_an_offset_stands_with_the_last_step(redis_url: str) -> None:
    """Of an event that takes several steps: whoever dies in between leaves the old one, and it comes again."""
    with closing(RedisStore(redis_url)) as store:
        hand = ByHand(store)
        for number in range(2 * MAX_TOUCHED + 3):
            hand.build(f"k{number:05}", 1, BUG)
        _take_in(store, OLD)
        steps = apply(_apply_of(store, NEW))
        asked = next(steps)

        offsets: list[str | None] = []
        kinds: list[type[object]] = []
        with suppress(StopIteration):
            while True:
                answer = store.carry_out(asked)
                kinds.append(type(asked))
                offsets.append(_offset(store))
                asked = steps.send(answer)

        assert set(kinds[1:]) == {Touch}
        assert len(kinds) > 3
        assert offsets == ["old"] * (len(kinds) - 1) + ["new"]


def test_an_offset_is_written_by_the_last_command_of_its_step(redis_url: str, shared_redis: RedisServer) -> None:
    """With the counters, also where there is more to write than one command takes."""
    with closing(RedisStore(redis_url)) as store, shared_redis.client() as client:
        hand = ByHand(store)
        for number in range(MAX_TOUCHED):
            hand.build(f"k{number:05}", 1, BUG)

        with client.monitor() as monitor:
            _take_in(store, NEW)
            client.echo("done")
            written = [line for line in _until(monitor, "ECHO done") if line.startswith("MSET ")]

    beginning = store.key.removesuffix("m")
    assert len(written) > 1
    for name in (store.key, f"{beginning}offset:bus"):
        assert [f" {name} " in line for line in written] == [False] * (len(written) - 1) + [True]


def _until(monitor: Any, last: str) -> Iterator[str]:  # noqa: ANN401 - the driver's monitor has no types
    for found in monitor.listen():
        if found["command"] == last:
            return
        yield found["command"]


def test_a_step_that_breaks_off_leaves_the_offset(redis_url: str, shared_redis: RedisServer) -> None:
    """It met a key that somebody had written into, and whoever was to send it again, to repair that, has died."""
    with closing(RedisStore(redis_url)) as store, shared_redis.client() as client:
        hand = ByHand(store)
        hand.build("k", 1, BUG)
        _take_in(store, OLD)
        hand.build("k", 1, BUG)
        sent = store.sender.sent(ApplyFirst(_apply_of(store, NEW)))
        _harm(client, store.key.removesuffix("m") + f"y:{FUNCTION}", "another type")

        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            store.clients.blocking.run(sent.script, store.key, sent.arguments)

        assert client.get(store.key.removesuffix("m") + "offset:bus") == b"old"
        _take_in(store, NEW)
        assert _offset(store) == "new"


def test_an_offset_is_written_once_though_an_answer_is_lost(proxy: Proxy) -> None:
    """The step is sent again under its number, whichever it is."""
    url = f"redis://{HOST}:{proxy.port}/0?prefix={new_prefix()}"
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=(OLD,)))
        before = hand.position()
        proxy.lose_answer_to(b"_apply")

        hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=(NEW,)))

        assert proxy.n_lost == 1
        assert _offset(store) == "new"
        assert hand.position().sequence == before.sequence + 1


def test_an_offset_stands_though_the_answer_to_a_later_step_is_lost(proxy: Proxy) -> None:
    """The last one, which writes it."""
    url = f"redis://{HOST}:{proxy.port}/0?prefix={new_prefix()}"
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        for number in range(MAX_TOUCHED + 3):
            hand.build(f"k{number:05}", 1, BUG)
        proxy.lose_answer_to(b"_touch")

        applied = _take_in(store, NEW)

        assert proxy.n_lost == 1
        assert len(applied.touched) == MAX_TOUCHED + 3
        assert _offset(store) == "new"


def test_an_offset_of_several_shards_is_written_once_though_an_answer_is_lost(proxy: Proxy) -> None:
    """The step that writes it, after all others."""
    url = f"redis://{HOST}:{proxy.port}/0?prefix={new_prefix()}"
    with closing(ShardedStore(url, N_SHARDS)) as store:
        _take_in(store, OLD)
        proxy.lose_answer_to(b"_keep_offsets")

        _take_in(store, NEW)

        assert proxy.n_lost == 1
        assert _offset(store) == "new"


def test_nothing_is_known_of_sources_after_a_flush() -> None:
    """The entries are gone too: a source begins with what its broker says."""
    with redis_server() as server, closing(RedisStore(server.url)) as store, server.client() as client:
        _fill(store)
        client.flushall()

        assert store.carry_out(ReadSources()).states == ()
        assert store.carry_out(ReadQuarantine()) == ()
        assert _offset(store) is None


def test_an_offset_outlives_another_run_of_the_server() -> None:
    """It is as old as what the server has brought back, all of which is outdated."""
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server:
        with closing(RedisStore(server.url)) as store:
            ByHand(store).build("k", 1, BUG)
            _take_in(store, NEW)
            ByHand(store).build("k", 1, BUG)
        server.stop()
        server.start()

        with closing(RedisStore(server.url)) as store:
            assert _offset(store) == "new"
            assert ByHand(store).state("k") is State.DIRTY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", HARMS)
def test_a_key_that_somebody_wrote_into_raises_no_more_than_once(
    redis_url: str, shared_redis: RedisServer, kind: str, harm: str
) -> None:
    """It is removed, by the first step that needs it, and everything about sources works as before."""
    with closing(RedisStore(redis_url)) as store, shared_redis.client() as client:
        _fill(store)
        _harm(client, store.key.removesuffix("m") + kind, harm)

        _use(store)

        (state,) = store.carry_out(ReadSources()).states
        assert (state.source, state.offset, len(state.reports)) == ("bus", "new", 1)
        assert state.n_quarantined == len(store.carry_out(ReadQuarantine())) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", HARMS)
def test_a_key_that_somebody_wrote_into_is_passed_over_by_readers(
    redis_url: str, shared_redis: RedisServer, kind: str, harm: str
) -> None:
    """Whoever only looks is told of what makes sense."""
    with closing(RedisStore(redis_url)) as store, shared_redis.client() as client:
        _fill(store)
        _harm(client, store.key.removesuffix("m") + kind, harm)

        states = store.carry_out(ReadSources(("bus",))).states
        ids = [one.id for one in store.carry_out(ReadQuarantine(("1", "2")))]

        assert len(states) <= 1
        assert ids in (["1", "2"], [])
        assert len(store.carry_out(ReadSources()).states) <= 1
        assert {one.id for one in store.carry_out(ReadQuarantine())} <= {"1", "2"}


def test_what_is_wrong_with_a_key_is_told(
    redis_url: str, shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of another type begins a new life of the store, as any such key does, and the log says so."""
    with closing(RedisStore(redis_url)) as store, shared_redis.client() as client:
        _fill(store)
        _harm(client, store.key.removesuffix("m") + "unread", "another type")

        _use(store)

        assert "store.lost" in caplog.text


def test_sources_do_without_a_library() -> None:
    """Where the user may not load functions each step is a script, with all that it needs."""
    with redis_server() as server, server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-function", "-fcall")
        with closing(RedisStore(f"redis://app:pw@{HOST}:{server.port}")) as store:
            _fill(store)
            _use(store)
            ByHand(store).run(suspect(("bug.#",), "lost", Shapes(), per_s=1.0))

            assert _offset(store) == "new"
            assert [one.id for one in store.carry_out(ReadQuarantine())] == ["3"]
            assert store.carry_out(ReadQuarantine(("3",))) == store.carry_out(ReadQuarantine())


def test_a_full_server_takes_no_messages_but_offsets() -> None:
    """What nobody could read comes again from its source; what was applied is remembered all the same."""
    with (
        redis_server({"maxmemory-policy": "noeviction"}) as server,
        server.client() as client,
        closing(RedisStore(server.url)) as store,
    ):
        _fill(store)
        client.config_set("maxmemory", 1)

        _take_in(store, NEW)
        store.carry_out(Tell(_report()))
        with pytest.raises(StoreUnavailable, match="memory"):
            store.carry_out(Quarantine((_unreadable("3"),)))

        assert _offset(store) == "new"
        assert store.carry_out(Release(("1",))) == 1


def test_sources_are_read_some_at_a_time(redis_url: str) -> None:
    """All come back, by name, however many steps that takes; and those that are asked for."""
    names = [f"source {number:03}" for number in range(2 * N_READ + 1)]
    with closing(RedisStore(redis_url)) as store:
        _take_in(store, *(Offset(name, name) for name in names))

        assert [(one.source, one.offset) for one in store.carry_out(ReadSources()).states] == [
            (name, name) for name in names
        ]
        assert [one.source for one in store.carry_out(ReadSources(tuple(names))).states] == names


def test_the_quarantine_goes_through_in_steps(redis_url: str) -> None:
    """What is kept, read, let go for want of room, and released is the same as by one step."""
    some = tuple(_unreadable(str(number)) for number in range(7 * N_SENT))
    with closing(RedisStore(redis_url)) as store:
        assert store.carry_out(Quarantine(some)) == 0
        assert [one.id for one in store.carry_out(ReadQuarantine())] == [one.id for one in some]
        assert [one.id for one in store.carry_out(ReadQuarantine(tuple(one.id for one in some[::-1])))] == [
            one.id for one in some
        ]

        assert store.carry_out(Quarantine((), n_max=5)) == 7 * N_SENT - 5
        assert [one.id for one in store.carry_out(ReadQuarantine())] == [one.id for one in some[-5:]]
        assert store.carry_out(Release(tuple(one.id for one in some))) == 5
        assert store.carry_out(ReadSources()).states == ()


def test_no_step_reads_more_than_a_few_large_messages(redis_url: str) -> None:
    """The server would stand still for everybody."""
    large = tuple(_unreadable(str(number), body=b"\xff" * 600_000) for number in range(5))
    ids = tuple(one.id for one in large)
    with closing(RedisStore(redis_url)) as store:
        store.carry_out(Quarantine(large))

        assert len(store.carry_out(ReadAfter(0, None)).messages) == 2
        assert store.carry_out(ReadIds(ids)).last == 2
        assert store.carry_out(ReadAfter(0, "another")).messages == ()
        assert not store.carry_out(ReadAfter(0, "another")).is_end
        assert store.carry_out(ReadQuarantine()) == store.carry_out(ReadQuarantine(ids))
        assert [one.id for one in store.carry_out(ReadQuarantine())] == list(ids)


def test_no_step_lets_go_of_more_than_a_few_large_messages(redis_url: str) -> None:
    """Each is read, as its source is counted; steps go on until all have gone that are to go."""
    large = tuple(_unreadable(str(number), body=b"\xff" * 600_000) for number in range(9))
    ids = tuple(one.id for one in large)
    with closing(RedisStore(redis_url)) as store:
        store.carry_out(Quarantine(large))

        assert store.carry_out(QuarantineSome((), 1, 2**30)) == (2, False)
        assert store.carry_out(QuarantineSome((), 9, 1_000_000)) == (2, False)
        assert store.carry_out(ReleaseSome(ids)) == (2, 6)
        assert store.carry_out(Quarantine((), max_bytes=1_000_000)) == 2
        assert store.carry_out(Release(ids)) == 1


def test_all_keys_of_sources_are_on_the_first_shard(redis_url: str, shared_redis: RedisServer) -> None:
    """Under the hash tag that its other keys have, so that a Cluster has them in one slot."""
    with closing(ShardedStore(redis_url, N_SHARDS)) as store, shared_redis.client() as client:
        _fill(store)

        for kind in KINDS:
            assert client.exists(store.shards[0].key.removesuffix("m") + kind), kind
            assert not client.exists(store.shards[1].key.removesuffix("m") + kind), kind


@pytest.mark.parametrize(("n_before", "n_after"), [(1, 4), (4, 1), (4, 2)])
def test_another_number_of_shards_keeps_offsets_and_quarantine(redis_url: str, n_before: int, n_after: int) -> None:
    """Whatever is built from then on has seen what was before; messages are as old as they were."""
    with closing(open_store(f"{redis_url}&shards={n_before}")) as store:
        ByHand(store).build("k", 1, BUG)
        _fill(store)
        kept = store.carry_out(ReadQuarantine())

    reshard(address_of(redis_url), n_before, n_after)

    with closing(open_store(f"{redis_url}&shards={n_after}")) as store:
        assert _offset(store) == "old"
        assert store.carry_out(ReadQuarantine()) == kept
        assert len(kept) == 2


def test_one_shard_that_cannot_apply_leaves_the_offset(redis_url: str) -> None:
    """All others have taken the events; they come again, which does no harm."""
    with closing(_Fails(redis_url, N_SHARDS)) as store:
        hand = ByHand(store)
        keys = [f"k{number}" for number in range(40)]
        for key in keys:
            hand.build(key, 1, BUG)
        _take_in(store, OLD)
        for key in keys:
            hand.build(key, 1, BUG)

        gone = shard_of(keys[0], N_SHARDS)
        store.fails = lambda part: part.shard == gone and isinstance(part.request, ApplyToShard)
        with pytest.raises(StoreUnavailable):
            _take_in(store, NEW)
        store.fails = _nothing_fails

        assert _offset(store) == "old"
        assert {hand.state(key) for key in keys} == {State.DIRTY, State.FRESH}

        _take_in(store, NEW)

        assert _offset(store) == "new"
        assert {hand.state(key) for key in keys} == {State.DIRTY}


@pytest.mark.parametrize("before", [Carry, Delivered, Pending, KeepOffsets])
def test_whoever_dies_before_all_shards_know_leaves_the_offset(redis_url: str, before: type[object]) -> None:
    """Also when all have applied the events: what this led to has to be told, too."""
    with closing(_Fails(redis_url, N_SHARDS)) as store:
        hand = ByHand(store)
        hand.build("in", 1, BUG)
        hand.build("out", 1, seen={"in": 1})
        assert shard_of("in", N_SHARDS) != shard_of("out", N_SHARDS)
        _take_in(store, OLD)
        hand.build("in", 1, BUG)

        store.fails = lambda part: isinstance(part.request, before)
        with pytest.raises(StoreUnavailable):
            _take_in(store, NEW)
        store.fails = _nothing_fails

        assert _offset(store) == "old"
        _take_in(store, NEW)
        assert _offset(store) == "new"
        assert (hand.state("in"), hand.state("out")) == (State.DIRTY, State.SUSPECT)


def _nothing_fails(_: Part) -> bool:
    return False


class _Fails(ShardedStore):
    """A store of which some parts are not carried out, as if their shards did not answer."""

    fails: Callable[[Part], bool] = staticmethod(_nothing_fails)

    def _run(self, steps: Any) -> Any:  # noqa: ANN401 - as its own
        return super()._run(self._cut(steps))

    def _cut(self, steps: Any) -> Any:  # noqa: ANN401 - as above
        try:
            parts = list(next(steps))
            while True:
                left = [part for part in parts if not self.fails(part)]
                dones = (yield left) if left else []
                if len(left) < len(parts):
                    msg = "it does not answer"
                    raise StoreUnavailable(msg)
                parts = list(steps.send(dones))
        except StopIteration as stop:
            return stop.value


def _fill(store: Store) -> None:
    """Have something in each kind of key."""
    _take_in(store, OLD)
    store.carry_out(Tell(_report()))
    store.carry_out(Quarantine((_unreadable("1"), _unreadable("2"))))


def _use(store: Store) -> None:
    """Each request that changes something, and one message left."""
    _take_in(store, NEW)
    store.carry_out(Tell(_report()))
    store.carry_out(Release(("2",)))
    store.carry_out(Quarantine((_unreadable("3"),), n_max=1))


def _harm(client: redis.Redis, name: str, harm: str) -> None:
    # The first is nothing that was ever packed, the second a number.
    junk = b"\xc1junk\xff" if harm == "junk" else b"\x05"
    kind: Any = client.type(name)
    if harm in {"another type", "deleted"} or kind != b"hash":
        client.delete(name)
    match harm, kind:
        case "deleted", _:
            pass
        case "another type", b"list":
            client.set(name, "a")
        case "another type", _:
            client.rpush(name, "a")
        case _, b"hash":
            fields: Any = client.hkeys(name)
            client.hset(name, mapping=dict.fromkeys(fields, junk))
        case _, b"set":
            client.sadd(name, junk)
        case _, b"zset":
            client.zadd(name, {junk: 1})
        case _:
            client.set(name, junk)


def _take_in(store: Store, *offsets: Offset) -> Applied:
    hand = ByHand(store)
    return hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=offsets)).applied


def _offset(store: Store) -> str | None:
    states = store.carry_out(ReadSources(("bus",))).states
    return states[0].offset if states else None


def _apply_of(store: RedisStore, offset: Offset) -> Apply:
    """The request, once its asker knows the store's shapes."""
    shapes = Shapes()
    while True:
        request: Request[object] = next(take_in([BUG_CHANGED], shapes, offsets=(offset,)))
        assert isinstance(request, Apply)
        answer = store.carry_out(Apply(request.touched, request.generation, request.mentions, is_dry=True))
        if isinstance(answer, Applied):
            return request
        shapes.learn(answer.after, answer.shapes)


def _report() -> Report:
    return Report(source="bus", consumer="host:1", is_connected=True, topics=("#",))


def _unreadable(id_: str, *, body: bytes = b"{") -> Unreadable:
    message = Message(topic="bug.update", body=body)
    return Unreadable(id=id_, source="bus", format="fedora", reason="it is no JSON", message=message)
