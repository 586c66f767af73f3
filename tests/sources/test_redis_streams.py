"""Redis Streams as a source: one consumer of a group, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.redis_stream_reading import OpenRedisStream
from everfresh.sources.redis_streams import RedisStream
from everfresh.sources.source import Batch, SourceUnavailable, Start
from everfresh.testing.waiting import soon
from tests.redis_proxy import Proxy, proxy_to
from tests.redis_servers import RedisServer, new_prefix, redis_server
from tests.sources.downtime import is_touched, running, told

AT_ONCE = timedelta(milliseconds=1)
NEVER_FOLLOWED = "nothing is stored of how far it was followed"


class Bus:
    """One stream on the shared server, and who writes to it."""

    def __init__(self, server: RedisServer, client: "redis.Redis") -> None:
        self.server = server
        self.client = client
        self.stream = new_prefix()

    def add(self, *bodies: str, **options: Any) -> None:  # noqa: ANN401 - as XADD takes them
        for body in bodies:
            self.client.xadd(self.stream, {"topic": "article.update", "body": body}, **options)

    def source(self, url: str = "", **options: Any) -> RedisStream:  # noqa: ANN401 - as the source takes them
        return RedisStream(url or self.server.url, self.stream, **{"group": "cache", "start": "all", **options})

    def n_pending(self) -> int:
        return self.client.xpending(self.stream, "cache")["pending"]

    def ids(self) -> list[str]:
        told: Any = self.client.xrange(self.stream)
        return [entry_id.decode() for entry_id, _ in told]

    def names(self) -> set[str]:
        return {consumer["name"].decode() for consumer in self.client.xinfo_consumers(self.stream, "cache")}


@pytest.fixture
def bus(shared_redis: RedisServer) -> Iterator[Bus]:
    """A stream of this test alone."""
    with shared_redis.client() as client:
        yield Bus(shared_redis, client)


@asynccontextmanager
async def opened(source: RedisStream, *, offset: str | None = None, consumer: str = "me") -> AsyncIterator[Any]:
    """A connection of a consumer; without an offset, after what the first one of all has to tell was seen to."""
    async with source.open(Start(offset=offset, topics=("#",), consumer=consumer)) as stream:
        if offset is None and source.terms.untold.partition(": ")[2] == NEVER_FOLLOWED:
            await stream.acknowledge(await stream.fetch(1, 0))
        yield stream


async def bodies(stream: OpenRedisStream, n_max: int = 100, wait_s: float = 0) -> list[str]:
    """What one fetch brings."""
    return texts(await stream.fetch(n_max, wait_s))


def texts(batch: Batch) -> list[str]:
    return [message.body.decode() for message in batch.messages]


async def taken(stream: OpenRedisStream) -> list[Batch]:
    """All that is there, each batch acknowledged."""
    batches: list[Batch] = []
    while True:
        batch = await stream.fetch(100, 0)
        await stream.acknowledge(batch)
        if not batch.messages and not batch.gap:
            return batches
        batches.append(batch)


def gaps(batches: list[Batch]) -> list[str]:
    return [batch.gap for batch in batches if batch.gap]


async def test_entries_come_in_order_and_stay_pending_until_they_are_acknowledged(bus: Bus) -> None:
    """What was given and not acknowledged, the group still counts as open."""
    bus.add("1", "2", "3")

    async with opened(bus.source()) as stream:
        first = await stream.fetch(2, 0)
        pending_before = bus.n_pending()
        await stream.acknowledge(first)

        assert texts(first) == ["1", "2"]
        assert [message.topic for message in first.messages] == ["article.update"] * 2
        assert first.lag == 1
        assert (pending_before, bus.n_pending()) == (2, 0)
        assert await bodies(stream) == ["3"]


async def test_a_fetch_waits_for_the_first_entry(bus: Bus) -> None:
    """It comes back with it, and not only when the wait is over."""
    async with opened(bus.source()) as stream:
        await stream.fetch(10, 0)
        fetching = asyncio.create_task(stream.fetch(10, 20))
        await soon(lambda: bus.client.client_list(_type="normal") and blocked(bus), what="a reader that waits")
        bus.add("1")

        assert texts(await fetching) == ["1"]


def blocked(bus: Bus) -> bool:
    return bus.client.info("clients")["blocked_clients"] > 0


async def test_what_was_not_acknowledged_comes_again_to_the_same_consumer_first(bus: Bus) -> None:
    """A process that died and came back under its name goes on where it was."""
    bus.add("1", "2")
    async with opened(bus.source()) as stream:
        await stream.fetch(1, 0)

    async with opened(bus.source()) as stream:
        assert await bodies(stream) == ["1"]
        assert await bodies(stream) == ["2"]
        assert await bodies(stream) == []


async def test_what_another_left_is_taken_over(bus: Bus) -> None:
    """Its process died, and nobody comes back under its name."""
    bus.add("1", "2")
    async with opened(bus.source()) as stream:
        await stream.fetch(1, 0)

    async with opened(bus.source(claim_after=AT_ONCE), consumer="other") as stream:
        await soon(lambda: bus.client.xpending(bus.stream, "cache")["pending"] == 1, what="one entry left open")
        batches = await soon(lambda: taken(stream), what="what was left")

        assert [text for batch in batches for text in texts(batch)] == ["1", "2"]
        assert bus.n_pending() == 0


async def test_what_is_held_at_the_end_can_be_taken_over_at_once(bus: Bus) -> None:
    """Nobody waits an hour for it; what is gone from the stream meanwhile stays pending, and is told."""
    source = bus.source(claim_after=timedelta(hours=1))
    bus.add("1", "2", "3")
    async with opened(source, consumer="other") as other:
        await other.fetch(3, 0)
        bus.client.xdel(bus.stream, bus.ids()[1])

    async with opened(source) as stream:
        assert await bodies(stream) == ["1", "3"]
    assert bus.n_pending() == 3


async def test_what_is_under_way_here_is_not_taken_over_from_oneself(bus: Bus) -> None:
    """Who holds a batch for long does not get it a second time."""
    bus.add("1")

    async with opened(bus.source(claim_after=AT_ONCE)) as stream:
        first = await stream.fetch(10, 0)
        again = [await bodies(stream) for _ in range(20)]

        assert texts(first) == ["1"]
        assert again == [[]] * 20


async def test_two_consumers_share_the_entries(bus: Bus) -> None:
    """Each entry goes to one of them."""
    bus.add(*map(str, range(10)))

    async with opened(bus.source()) as one, opened(bus.source(), consumer="other") as other:
        got = [*await bodies(one, 5), *await bodies(other, 100)]

    assert got == list(map(str, range(10)))


@pytest.mark.parametrize("command", [b"XREADGROUP", b"XCLAIM", b"XACK"])
async def test_an_answer_that_is_lost_loses_no_entry(bus: Bus, command: bytes) -> None:
    """The server gave the entries, and nobody got them: they come with the next fetch of the same connection."""
    bus.add("1", "2", "3")
    async with opened(bus.source(), consumer="dead") as stream:
        await stream.fetch(1, 0)
    with proxy_to(bus.server.port) as proxy:
        proxy.lose_answer_to(command)
        got: list[str] = []

        async with opened(bus.source(url(proxy), claim_after=AT_ONCE)) as stream:
            with pytest.raises(SourceUnavailable):
                got += [text for batch in await taken(stream) for text in texts(batch)]
            got += [text for batch in await taken(stream) for text in texts(batch)]

        assert proxy.n_lost == 1
        assert set(got) | ({"1"} if command == b"XACK" else set()) >= {"1", "2", "3"}
        assert bus.n_pending() == 0


async def test_a_cancelled_fetch_loses_no_entry(bus: Bus) -> None:
    """Whenever it is cancelled, what the server gave meanwhile comes with the next one."""
    async with opened(bus.source()) as stream:
        got: list[str] = []
        for number in range(40):
            fetching = asyncio.create_task(stream.fetch(10, 5))
            for _ in range(number // 4):
                await asyncio.sleep(0)
            bus.add(str(number))
            for _ in range(number % 8):
                await asyncio.sleep(0)
            fetching.cancel()
            if result := (await asyncio.gather(fetching, return_exceptions=True))[0]:
                got += texts(result) if isinstance(result, Batch) else []
        got += [text for batch in await taken(stream) for text in texts(batch)]

        assert got == list(map(str, range(40)))


async def test_a_fetch_that_is_cancelled_as_its_wait_is_over_is_cancelled(bus: Bus) -> None:
    """Whoever awaits the end of it would wait for ever."""
    async with bus.source(start="new").open(Start(offset=None, topics=("#",), consumer="me")) as stream:
        gap = await stream.fetch(1, 0)
        fetching = asyncio.create_task(stream.fetch(1, 20))
        for _ in range(5):
            await asyncio.sleep(0)
        await stream.acknowledge(gap)

        # Both are in one round of the loop: the event is set, and nobody has woken up.
        fetching.cancel()
        (result,) = await asyncio.gather(fetching, return_exceptions=True)

    assert isinstance(result, asyncio.CancelledError)


async def test_a_cancelled_wait_takes_nothing(bus: Bus) -> None:
    """The server has nobody left to whom it would give the next entry."""
    async with opened(bus.source()) as stream:
        await stream.fetch(10, 0)
        for _ in range(5):
            waiting = asyncio.create_task(stream.fetch(10, 5))
            await asyncio.wait({waiting}, timeout=0.01)
            waiting.cancel()
            # While it connects anew, the driver heeds no cancellation; then this wait comes to its own end.
            await asyncio.wait({waiting})
            assert waiting.cancelled() or not waiting.result().messages
        bus.add("1")

        assert await bodies(stream) == ["1"]


async def test_trimming_that_overtakes_the_group_is_a_gap(bus: Bus) -> None:
    """MAXLEN takes what nobody has read, without a word; it is told once."""
    bus.add("1", "2")

    async with opened(bus.source()) as stream:
        await taken(stream)
        bus.add("3", "4", "5")
        bus.add("6", maxlen=1, approximate=False)
        batches = await taken(stream)
        bus.add("7", "8")
        later = await taken(stream)

    assert [texts(batch) for batch in batches] == [["6"]]
    assert gaps(batches) == [f"stream {bus.stream}: 3 entries were trimmed before the group had read them"]
    assert gaps(later) == []


async def test_trimming_what_was_read_is_no_gap(bus: Bus) -> None:
    """Whoever keeps the stream short may do so up to where it was read."""
    async with opened(bus.source()) as stream:
        batches: list[Batch] = []
        for number in range(10):
            bus.add(f"{number}", f"{number}+")
            batches += await taken(stream)
            bus.client.xtrim(bus.stream, maxlen=0, approximate=False)

    assert gaps(batches) == []
    assert len([text for batch in batches for text in texts(batch)]) == 20


async def test_a_gap_is_told_once_over_restarts(bus: Bus) -> None:
    """The server's counters show an old loss for ever; the offset says that it is known."""
    bus.add("1", "2")
    source = bus.source()
    async with opened(source) as stream:
        await taken(stream)
        bus.add("3", "4", "5")
        bus.add("6", maxlen=1, approximate=False)
        batches = await taken(stream)
    bus.client.xtrim(bus.stream, maxlen=0, approximate=False)

    async with opened(bus.source(), offset=batches[-1].offset) as stream:
        bus.add("7", maxlen=1, approximate=False)
        later = await taken(stream)

    assert len(gaps(batches)) == 1
    assert [texts(batch) for batch in later] == [["7"]]
    assert gaps(later) == []


async def test_trimming_while_nobody_was_there_is_told_before_anything_is_taken(bus: Bus) -> None:
    """Were something taken first, and the process killed then, nobody would know of the loss any more."""
    async with opened(bus.source()) as stream:
        bus.add("1", "2")
        await taken(stream)
    bus.add("3", "4")
    bus.add("5", maxlen=1, approximate=False)

    for _ in range(2):
        async with opened(bus.source()) as stream:
            first = await stream.fetch(10, 0)
            unsettled = await stream.fetch(10, 0)
            assert (texts(first), texts(unsettled)) == ([], [])
            assert "2 entries were trimmed" in first.gap
    async with opened(bus.source()) as stream:
        assert [(texts(batch), bool(batch.gap)) for batch in await taken(stream)] == [([], True), (["5"], False)]


async def test_deleting_what_was_not_read_is_a_gap(bus: Bus) -> None:
    """XDEL takes single entries."""
    async with opened(bus.source()) as stream:
        bus.add("1")
        await taken(stream)
        bus.add("2", "3")
        bus.client.xdel(bus.stream, bus.ids()[1])
        batches = await taken(stream)

    assert [texts(batch) for batch in batches] == [["3"]]
    assert "were deleted before the group had read them" in batches[0].gap


async def trim(bus: Bus) -> None:
    """The oldest go."""
    bus.client.xtrim(bus.stream, maxlen=1, approximate=False)


async def delete(bus: Bus) -> None:
    """One in the midst goes."""
    bus.client.xdel(bus.stream, bus.ids()[-2])


@pytest.mark.parametrize("lose", [trim, delete])
@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_who_dies_after_a_reading_that_passed_a_loss_leaves_a_mark(
    bus: Bus, lose: Callable[[Bus], Awaitable[None]], is_cut_off: bool
) -> None:
    """The group stands behind the loss then, so no look finds it; the answer of the server may have been lost too."""
    bus.add("1")
    with proxy_to(bus.server.port) as proxy:
        async with opened(bus.source(url(proxy))) as stream:
            batches = await taken(stream)
            bus.add("2", "3", "4")
            await lose(bus)
            if is_cut_off:
                proxy.lose_answer_to(b"XREADGROUP")
                with pytest.raises(SourceUnavailable):
                    await stream.fetch(10, 0)
            else:
                assert await gap_of(stream)

    for _ in range(2):
        async with opened(bus.source(), offset=batches[-1].offset) as stream:
            assert "nobody has seen to it" in await gap_of(stream)
    async with opened(bus.source(), offset=batches[-1].offset) as stream:
        first = await taken(stream)
    async with opened(bus.source(), offset=first[-1].offset) as stream:
        later = await taken(stream)
    assert len(gaps(first)) == 1
    assert later == []
    assert bus.names() == set()


async def test_a_mark_of_the_dead_is_found_by_those_who_live_on(bus: Bus) -> None:
    """Nobody may open the source again for long."""
    bus.add("1")
    async with opened(bus.source(claim_after=AT_ONCE), consumer="alive") as alive:
        await taken(alive)
        async with opened(bus.source()) as stream:
            await taken(stream)
            bus.add("2", "3")
            await trim(bus)
            assert await gap_of(stream)

        gap = await soon(lambda: gap_of(alive), what="the loss that the dead had found")

    assert "nobody has seen to it" in gap


async def test_a_second_loss_is_not_settled_with_the_first(bus: Bus) -> None:
    """The next batch is fetched while one is settled, and it may be of the very same words."""
    bus.add("1")
    async with opened(bus.source()) as stream:
        await taken(stream)
        bus.add("2", "3")
        await trim(bus)
        first = await stream.fetch(10, 0)
        bus.add("4", "5")
        await trim(bus)
        second = await stream.fetch(10, 0)
        await stream.acknowledge(first)

        assert (bool(first.gap), first.gap) == (True, second.gap)
        assert any(name.startswith("everfresh:lost:") for name in bus.names())
        await stream.acknowledge(second)
        assert await taken(stream) == []
    assert bus.names() == set()


async def test_own_entries_that_were_trimmed_are_a_gap(bus: Bus) -> None:
    """They were given to this consumer, and are gone before it could apply them."""
    bus.add("1", "2")
    async with opened(bus.source()) as stream:
        await stream.fetch(10, 0)
    bus.client.xtrim(bus.stream, maxlen=0, approximate=False)

    async with opened(bus.source()) as stream:
        batches = await taken(stream)

    assert "2 entries were deleted before they were applied" in gaps(batches)[0]
    assert bus.n_pending() == 0


async def test_entries_of_the_dead_that_were_trimmed_are_a_gap(bus: Bus) -> None:
    """They stay pending until somebody has seen to it, as whoever finds it may die with what it knows."""
    bus.add("1", "2")
    async with opened(bus.source(), consumer="dead") as stream:
        await stream.fetch(10, 0)
    bus.client.xtrim(bus.stream, maxlen=0, approximate=False)

    async with opened(bus.source(claim_after=AT_ONCE)) as stream:
        batches = await soon(lambda: taken(stream), what="a gap")

    assert "2 entries were trimmed before they were applied" in gaps(batches)[0]


async def test_entries_of_the_dead_that_are_gone_are_told_again_when_nobody_settled_it(bus: Bus) -> None:
    """Taking over must not take them out of what is pending; what is still there comes with the gap."""
    bus.add("1", "2", "3")
    async with opened(bus.source(), consumer="dead") as stream:
        await stream.fetch(10, 0)
    await trim(bus)

    told: list[str] = []
    for _ in range(2):
        async with opened(bus.source(claim_after=AT_ONCE), offset="0-0") as stream:
            told.append(await soon(lambda: gap_of(stream), what="a gap"))
    async with opened(bus.source(claim_after=AT_ONCE), offset="0-0") as stream:
        batches = await soon(lambda: taken(stream), what="the rest")

    assert [text for batch in batches for text in texts(batch)] == ["3"]
    assert all("2 entries were trimmed before they were applied" in gap for gap in told)
    assert bus.n_pending() == 0


async def test_a_gap_is_told_until_somebody_has_seen_to_it(bus: Bus) -> None:
    """A connection that breaks before that is not the end of it."""
    bus.add("1")
    async with opened(bus.source(), consumer="dead") as stream:
        await stream.fetch(10, 0)
    bus.client.xtrim(bus.stream, maxlen=0, approximate=False)
    source = bus.source(claim_after=AT_ONCE)

    async with opened(source, offset="0-0") as stream:
        told = await soon(lambda: gap_of(stream), what="a gap")
    async with opened(source, offset="0-0") as stream:
        again = await taken(stream)
        never = await taken(stream)

    assert gaps(again) == [told]
    assert never == []


async def gap_of(stream: OpenRedisStream) -> str:
    """What the next batch tells of a loss; it is not acknowledged."""
    return (await stream.fetch(10, 0)).gap


async def test_a_group_that_is_gone_begins_at_the_stored_offset(bus: Bus) -> None:
    """An hour of downtime, in which somebody deleted the group: the position is ours."""
    bus.add("1", "2", "3")
    async with opened(bus.source()) as stream:
        await stream.acknowledge(await stream.fetch(2, 0))
        offset = (await stream.fetch(1, 0)).offset
    bus.client.xgroup_destroy(bus.stream, "cache")
    bus.add("4")

    async with opened(bus.source(start="new"), offset=offset) as stream:
        batches = await taken(stream)

    assert [text for batch in batches for text in texts(batch)] == ["3", "4"]
    assert gaps(batches) == []


async def test_a_group_that_is_gone_and_a_stream_that_was_trimmed_are_a_gap(bus: Bus) -> None:
    """What came after the offset is gone too."""
    bus.add("1", "2")
    async with opened(bus.source()) as stream:
        await taken(stream)
    offset = bus.client.xinfo_stream(bus.stream)["last-generated-id"].decode()
    bus.client.xgroup_destroy(bus.stream, "cache")
    bus.add("3")
    bus.add("4", maxlen=1, approximate=False)

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream)

    assert [texts(batch) for batch in batches] == [[], ["4"]]
    assert "were trimmed" in gaps(batches)[0]


@pytest.mark.parametrize("is_made_anew", [False, True])
async def test_a_stream_that_is_gone_is_a_gap(bus: Bus, is_made_anew: bool) -> None:
    """Whatever is in the new one comes from its beginning."""
    bus.client.xadd(bus.stream, {"body": "1"}, id="99999999999999-0")
    async with opened(bus.source()) as stream:
        await taken(stream)
    bus.client.delete(bus.stream)
    if is_made_anew:
        bus.add("2")

    async with opened(bus.source(start="new"), offset="99999999999999-0") as stream:
        batches = await taken(stream)
        bus.add("3")
        batches += await taken(stream)

    assert len(gaps(batches)) == 1
    assert ("made anew" if is_made_anew else "is gone") in gaps(batches)[0]
    assert [text for batch in batches for text in texts(batch)] == (["2", "3"] if is_made_anew else ["3"])


async def test_a_stream_that_was_made_anew_with_later_ids_is_a_gap(bus: Bus) -> None:
    """Nothing of the new one was ever trimmed, and what was in the old one nobody knows."""
    bus.add("1")
    async with opened(bus.source()) as stream:
        await taken(stream)
    offset = bus.ids()[-1]
    bus.add("2")
    bus.client.delete(bus.stream)
    bus.client.xadd(bus.stream, {"body": "3"}, id="99999999999999-0")

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream)

    assert [texts(batch) for batch in batches] == [[], ["3"]]
    assert "the stream was made anew" in gaps(batches)[0]


@pytest.mark.parametrize("is_gone", [False, True])
async def test_who_dies_before_the_gap_of_a_group_that_is_gone_is_settled_leaves_a_mark(
    bus: Bus, is_gone: bool
) -> None:
    """The group that was made anew looks like any other to the next one."""
    bus.add("1")
    async with opened(bus.source()) as stream:
        await taken(stream)
    offset = bus.ids()[-1]
    bus.add("2", "3")
    bus.client.xgroup_destroy(bus.stream, "cache")
    await trim(bus)
    if is_gone:
        bus.client.delete(bus.stream)

    told: list[str] = []
    for _ in range(2):
        async with opened(bus.source(), offset=offset) as stream:
            told.append(await gap_of(stream))
    bus.add("4")
    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream)
        told += gaps(batches)

    assert len(told) == 3
    assert all(told)
    assert texts(batches[-1])[-1] == "4"
    assert bus.names() == set()


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_group_that_was_put_back_is_a_gap(bus: Bus, is_open: bool) -> None:
    """A group only goes on; when it stands before the stored offset, the server lost what it had, and maybe more."""
    async with AsyncExitStack() as stack:
        stream = await stack.enter_async_context(opened(bus.source()))
        bus.add("1")
        await taken(stream)
        before: Any = bus.client.dump(bus.stream)
        bus.add("2")
        await taken(stream)
        offset = bus.ids()[-1]
        bus.add("3")
        if not is_open:
            await stack.aclose()
        bus.client.restore(bus.stream, 0, before, replace=True)
        bus.add("4")
        if not is_open:
            stream = await stack.enter_async_context(opened(bus.source(), offset=offset))
        batches = await taken(stream)

    assert "put back" in gaps(batches)[0]
    assert texts(batches[-1]) == ["4"]


@pytest.mark.parametrize("case", ["new", "all", "group", "trimmed"])
async def test_who_begins_tells_that_nobody_followed_until_now(bus: Bus, case: str) -> None:
    """Entries of the cache may be older than the start; only who gets all that ever was need not say so."""
    bus.add("1")
    if case == "group":
        bus.client.xgroup_create(bus.stream, "cache", "0")
    if case == "trimmed":
        bus.add("2", maxlen=1, approximate=False)

    for _ in range(2):
        source = bus.source(start="new" if case == "new" else "all")
        async with source.open(Start(offset=None, topics=("#",), consumer="me")) as stream:
            first = await stream.fetch(10, 0)
        if case == "all":
            assert (first.gap, texts(first)) == ("", ["1"])
            break
        assert NEVER_FOLLOWED in first.gap
        assert first.messages == ()
        assert first.offset is not None


@pytest.mark.parametrize(("start", "expected"), [("new", ["2"]), ("all", ["1", "2"])])
async def test_the_first_start_begins_where_it_is_told_to(bus: Bus, start: str, expected: list[str]) -> None:
    """With what comes from now on, or with all that is there; neither is a gap."""
    bus.add("0")
    bus.add("1", maxlen=1, approximate=False)

    async with opened(bus.source(start=start)) as stream:
        bus.add("2")
        batches = await taken(stream)

    assert [text for batch in batches for text in texts(batch)] == expected
    assert gaps(batches) == []


async def test_the_offset_stands_below_what_is_not_acknowledged(bus: Bus) -> None:
    """Of anybody in the group; and at the end when nothing is open."""
    bus.add("1", "2", "3")

    async with opened(bus.source(), consumer="slow") as slow, opened(bus.source()) as stream:
        held = await slow.fetch(1, 0)
        batch = await stream.fetch(10, 0)
        await stream.acknowledge(batch)
        behind = (await stream.fetch(10, 0)).offset
        await slow.acknowledge(held)
        after = (await stream.fetch(10, 0)).offset

    first, _, last = bus.ids()
    assert place(batch.offset) < place(first)
    assert (behind, after) == (None, last)


def place(entry_id: str | None) -> tuple[int, ...]:
    assert entry_id is not None
    return tuple(map(int, entry_id.split("-")))


async def test_who_is_idle_tells_an_offset_once(bus: Bus) -> None:
    """The store need not write it every second, but it has to once: it is where a group begins that is gone."""
    async with opened(bus.source()) as stream:
        offsets = [(await stream.fetch(10, 0.05)).offset for _ in range(3)]

    assert offsets == ["0-0", None, None]


async def test_a_group_that_goes_while_it_is_read_is_told(bus: Bus) -> None:
    """The next opening makes it again, at the offset."""
    async with opened(bus.source()) as stream:
        bus.client.xgroup_destroy(bus.stream, "cache")

        with pytest.raises(SourceUnavailable, match="the group cache is gone"):
            await stream.fetch(10, 0)


async def test_a_consumer_with_nothing_open_is_forgotten_when_it_ends(bus: Bus) -> None:
    """Processes come and go; their names would heap up. What is open at one keeps its name."""
    bus.add("1")
    async with opened(bus.source()) as stream:
        await taken(stream)
    bus.add("2")
    async with opened(bus.source(), consumer="dead") as stream:
        await stream.fetch(10, 0)

    assert bus.names() == {"dead"}
    assert bus.n_pending() == 1


async def test_a_message_that_is_sent_comes_back(bus: Bus) -> None:
    """A canary goes through the source."""
    message = Message(topic="everfresh.canary.x", body=b"{}", headers={"everfresh-canary": "x"}, id="7")

    async with opened(bus.source()) as stream:
        await stream.send(message)
        batch = await stream.fetch(10, 0)

    assert list(batch.messages) == [message]
    assert list(await stream.widen(["a.b"])) == []


async def test_who_only_looks_takes_nothing(bus: Bus) -> None:
    """It sees what comes from now on, and the group gets all of it."""
    bus.add("0")
    async with bus.source().tapped().open(Start(offset=None, topics=("#",), consumer="tap")) as tap:
        bus.add("1", "2")
        seen = [*texts(await tap.fetch(1, 1)), *texts(await tap.fetch(10, 1))]
        nothing = texts(await tap.fetch(10, 0))
        with pytest.raises(SourceUnavailable, match="who only looks"):
            await tap.send(Message(topic="a", body=b""))

    async with opened(bus.source()) as stream:
        assert await bodies(stream) == ["0", "1", "2"]
    assert (seen, nothing) == (["1", "2"], [])


async def test_a_server_that_dies_is_told_and_comes_back_with_everything() -> None:
    """With `appendfsync always` nothing is lost that it took."""
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server, server.client() as client:
        source = RedisStream(server.url, "s", group="g", start="all")
        async with AsyncExitStack() as stack:
            stream = await stack.enter_async_context(opened(source))
            client.xadd("s", {"body": "1"})
            held = await stream.fetch(10, 0)
            server.kill()
            with pytest.raises(SourceUnavailable, match="no connection"):
                await stream.acknowledge(held)
            with pytest.raises(SourceUnavailable, match="no connection"):
                await stream.fetch(10, 0)
        with pytest.raises(SourceUnavailable, match="no connection"):
            await AsyncExitStack().enter_async_context(opened(source))
        server.start()

        async with opened(source) as stream:
            assert await bodies(stream) == ["1"]


async def test_a_server_that_counts_wrongly_after_a_restart_is_no_gap() -> None:
    """What a group has read does not stand in the log of Redis; Valkey finds it out again."""
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server:
        source = RedisStream(server.url, "s", group="g", start="all")
        with server.client() as client:
            for body in ("1", "2"):
                client.xadd("s", {"body": body})
        async with opened(source) as stream:
            batches = await taken(stream)
        server.kill()
        server.start()

        with server.client() as client:
            async with opened(source, offset=batches[-1].offset) as stream:
                batches += await taken(stream)
                client.xtrim("s", maxlen=0, approximate=False)
                for body in ("3", "4"):
                    client.xadd("s", {"body": body})
                batches += await taken(stream)
                idle = await stream.fetch(1, 0)

    assert [text for batch in batches for text in texts(batch)] == ["1", "2", "3", "4"]
    assert gaps(batches) == []
    assert idle.lag == 0


async def test_a_password_is_asked_for_and_never_shown() -> None:
    """Neither in errors nor in names."""
    with redis_server(password="s3cret") as server:  # noqa: S106 - the test's own server
        async with opened(RedisStream(server.url, "s", group="g")) as stream:
            assert await bodies(stream) == []
        source = RedisStream(server.url.replace("s3cret", "wr0ng"), "s", group="g")

        with pytest.raises(SourceUnavailable) as raised:
            await AsyncExitStack().enter_async_context(opened(source))

    assert "wr0ng" not in f"{raised.value}{source!r}{source.name}"
    assert "does not know the user or the password" in str(raised.value)


async def test_a_right_that_is_missing_is_named(bus: Bus) -> None:
    """The server's own words say which."""
    user = bus.stream
    bus.client.execute_command("ACL", "SETUSER", user, "on", ">pw", "~*", "+@all", "-xreadgroup")
    source = bus.source(bus.server.url.replace("redis://", f"redis://{user}:pw@"))

    async with opened(source) as stream:
        with pytest.raises(SourceUnavailable, match=r"the user may not do it.*xreadgroup"):
            await stream.fetch(10, 0)


async def test_another_kind_of_value_is_told(bus: Bus) -> None:
    """Somebody mistook the name."""
    bus.client.set(bus.stream, "text")

    with pytest.raises(SourceUnavailable, match="another kind of value is stored under this name"):
        await AsyncExitStack().enter_async_context(opened(bus.source()))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://x"}, "it names no Redis"),
        ({"url": "redis://:pw@h:x/0"}, "a port that is none"),
        ({"url": "redis+cluster://h:1"}, "one node of a Cluster"),
        ({"group": ""}, "group: '' is no name"),
        ({"start": "middle"}, "start: 'middle'"),
        ({"claim_after": timedelta()}, "claim_after"),
        ({"delivers": "order.#"}, "is one text"),
    ],
)
def test_options_that_cannot_hold_are_refused(options: dict[str, Any], problem: str) -> None:
    """At once, and without the password."""
    with pytest.raises(InvalidOption, match=problem) as raised:
        RedisStream(**{"url": "redis://h", "stream": "s", "group": "g", **options})

    assert "pw" not in str(raised.value)


def test_a_url_says_all_of_it() -> None:
    """As the command line takes it."""
    url = SourceUrl(
        "redis+stream://u:p%40@h:7/2/orders?group=cache&consumer=c1&start=all&claim_after=5m&delivers=a.%23"
    )

    source = RedisStream.of_url(url, format="plain")
    url.check_taken()

    terms, address = source.terms, source.terms.address
    assert (terms.stream, terms.group, source.consumer, terms.starts_at_all) == ("orders", "cache", "c1", True)
    assert (address.db, address.password, address.hosts) == (2, "p@", (("h", 7),))
    assert (terms.claim_after_s, source.delivers, source.format.name) == (300, ("a.#",), "plain")
    assert source.name == "redis:h:7/2/orders:cache"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://u:s3cret@h:7/2", "redis:h:7/2/s:g"),
        ("unix:///run/redis.sock?db=1", "redis:/run/redis.sock/1/s:g"),
        ("redis+sentinel://:s3cret@b:2,a:1/service/3", "redis:a:1,b:2/service/3/s:g"),
    ],
)
def test_streams_of_one_name_on_two_servers_are_two_sources(url: str, name: str) -> None:
    """They would write over each other's offset; no password stands in the name."""
    assert RedisStream(url, "s", group="g").name == name


def test_no_time_is_not_taken_for_the_usual_one() -> None:
    """It cannot hold, and says so."""
    with pytest.raises(InvalidOption, match="claim_after"):
        RedisStream.of_url(SourceUrl("redis+stream://h/0/s?group=g&claim_after=0"), format="auto")


def test_a_url_without_a_group_is_refused() -> None:
    """It says how to write it."""
    with pytest.raises(InvalidOption, match="redis\\+stream://host:6379/0/stream\\?group=name"):
        RedisStream.of_url(SourceUrl("redis+stream://h/0/orders"), format="auto")


def url(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def articles(bus: Bus) -> RedisStream:
    """The stream as a source of an application that follows it from now on."""
    return bus.source(start="new", name="bus", delivers=["article.#"])


async def test_an_application_catches_up_after_a_downtime(bus: Bus, tmp_path: Path) -> None:
    """The group was deleted meanwhile; the stored offset tells where it was, and nothing is suspect."""
    async with running(tmp_path, articles(bus)) as app:
        await soon(app.has_offset, what="a stored offset")
        bus.add('{"id": 0}')
        await soon(lambda: is_touched(app, "article:0"), what="the first event applied")
        await soon(lambda: app.has_offset(bus.ids()[-1]), what="its place stored")
        for number in range(3):
            await app.article(number)
    bus.client.xgroup_destroy(bus.stream, "cache")
    bus.add('{"id": 1}')

    async with running(tmp_path, articles(bus)) as app:
        await soon(lambda: is_touched(app, "article:1"), what="the event of the downtime applied")
        await soon(lambda: app.has_offset(bus.ids()[-1]), what="its place stored")

        assert await app.touched() == {"article:1"}
        assert await app.n_gaps() == 0


async def test_an_application_whose_stream_was_trimmed_marks_what_depends_on_it(bus: Bus, tmp_path: Path) -> None:
    """Nobody knows which articles changed, so all may have; the weather comes from elsewhere."""
    async with running(tmp_path, articles(bus)) as app:
        await soon(app.has_offset, what="a stored offset")
        bus.add('{"id": 0}')
        await soon(lambda: is_touched(app, "article:0"), what="the first event applied")
        await soon(lambda: app.has_offset(bus.ids()[-1]), what="its place stored")
        for number in range(3):
            await app.article(number)
    bus.add('{"id": 1}')
    bus.add('{"id": 2}', maxlen=1, approximate=False)

    async with running(tmp_path, articles(bus)) as app:
        await soon(lambda: is_touched(app, "article:0", "article:1", "article:2"), what="all articles suspect")

        assert await app.touched() == {"article:0", "article:1", "article:2"}
        assert await told(app) == 1
