"""`cache.sources`: what sources do with a cache."""

import pytest

from everfresh import Cache, Event, InvalidEvent, Notice, State, dep, track
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Offset, Report, Sources, Unreadable
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import entry_of
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis

BUG_CHANGED = Event("bug.update", {"id": 7}, "e1")
MESSAGE = Message(topic="bug.update", body=b"{", headers={"x": "1"})


async def test_what_a_source_brings_is_applied_with_its_offset(cache: Cache) -> None:
    """As if it had been published, and told in the same words."""
    told = notices(cache)
    await cache.put("k", 1, dep.Topic("bug.*"))

    position = await cache.sources.apply([BUG_CHANGED, Event("other")], offset=Offset("bus", "5"))

    assert position == await cache.position()
    assert not await cache.has("k")
    assert offsets(await cache.sources.read()) == {"bus": "5"}
    assert [(one.name, one.fields["topic"], one.fields["id"], one.fields["n_events"]) for one in told] == [
        ("event.applied", "bug.update", "e1", 2)
    ]


async def test_an_offset_may_come_alone(cache: Cache) -> None:
    """Nobody is told of events then."""
    told = notices(cache)

    await cache.sources.apply((), offset=Offset("bus", "5"))

    assert (offsets(await cache.sources.read(["bus"])), told) == ({"bus": "5"}, [])


async def test_nothing_at_all_is_no_step(cache: Cache) -> None:
    """The position is given as it is."""
    before = await cache.position()

    assert await cache.sources.apply([]) == before


async def test_a_wrong_event_keeps_the_offset_from_being_written(cache: Cache) -> None:
    """All or none."""
    with pytest.raises(InvalidEvent):
        await cache.sources.apply([BUG_CHANGED, None], offset=Offset("bus", "5"))  # type: ignore[list-item]  # the mistake is the test

    assert (await cache.sources.read()).states == ()


async def test_no_transaction_holds_back_what_a_source_brings(cache: Cache) -> None:
    """It has happened elsewhere; how the block ends is nothing to it."""
    await cache.put("k", 1, dep.Topic("bug.*"))

    async with cache.transaction():
        await cache.sources.apply([BUG_CHANGED], offset=Offset("bus", "5"))
        assert not await cache.has("k")

    assert offsets(await cache.sources.read()) == {"bus": "5"}


async def test_no_build_is_the_cause_of_what_a_source_brings(open_cache: OpenCache, url: str) -> None:
    """Wherever it is consumed: events that builds publish have a chain behind them, which may grow too long."""
    cache = open_cache(url, max_generations=1)

    @cache.cached(depends_on=[dep.Topic("step", {"n": dep.arg("n")})])
    async def step(n: int) -> int:
        if n < 4:
            await cache.sources.apply([Event("step", {"n": n + 1})])
        return n

    for n in (4, 3, 2, 1):
        await step(n)
    async with Worker(cache):
        await cache.publish(Event("step", {"n": 1}))
        await soon(lambda: _are_fresh(cache), what="the refreshes")

    assert await cache.failed() == []


async def _are_fresh(cache: Cache) -> bool:
    return not await cache.entries(state="dirty") and not await cache.entries(state="building")


async def test_lost_events_make_suspect_what_depends_on_them(cache: Cache, upstream: Upstream) -> None:
    """At once, for whoever reads; how many of them there are is answered, and who and why is told."""
    told = notices(cache)

    @cache.cached(depends_on=[dep.Topic("bug.*", {"id": dep.arg("id")})])
    async def bug(id: int) -> int:  # noqa: A002 - what it is
        return upstream.read()

    @cache.cached(depends_on=[dep.Topic("build.*")])
    async def build() -> int:
        return 1

    assert [await bug(7), await bug(8), await build()] == [1, 1, 1]
    await upstream.change(2)
    told.clear()

    n_touched = await cache.sources.suspect(["bug.new", "test.#"], "bus: 5 messages may be lost", per_s=0.01)

    states = [(await entry_of(bug, 7)).state, (await entry_of(bug, 8)).state, (await entry_of(build)).state]
    assert (n_touched, states) == (2, [State.DIRTY, State.DIRTY, State.FRESH])
    (notice,) = told
    assert (notice.name, notice.fields) == (
        "source.suspect",
        {
            "topics": ("bug.new", "test.#"),
            "reason": "bus: 5 messages may be lost",
            "position": await cache.position(),
            "n_touched": 2,
            "n_suspect": 0,
        },
    )
    assert [await bug(7), await bug(8), await build()] == [2, 2, 1]


async def test_reports_come_back(cache: Cache) -> None:
    """With the store's time of them."""
    report = Report(source="bus", consumer="host:1", is_connected=True, topics=("#",), predicates={"f": (5, 0)})

    at = await cache.sources.tell(report)

    (state,) = (await cache.sources.read()).states
    assert [(told.report, told.at) for told in state.reports] == [(report, at)]


async def test_messages_that_nobody_can_read_are_kept(cache: Cache) -> None:
    """And found again, by id or source, until they are released."""
    assert await cache.sources.quarantine([kept("1"), kept("2", source="other"), kept("3")], n_max=2) == 1

    assert [one.id for one in await cache.sources.quarantined()] == ["2", "3"]
    assert [one.id for one in await cache.sources.quarantined(["2"])] == ["2"]
    assert [one.message for one in await cache.sources.quarantined(source="bus", n_max=1)] == [MESSAGE]
    assert await cache.sources.release(["2", "nowhere"]) == 1
    assert [one.id for one in await cache.sources.quarantined()] == ["3"]


async def test_whatever_a_client_made_of_bytes_can_be_kept(cache: Cache) -> None:
    """Half of a surrogate pair has no UTF-8; a message with one must not stop its source for ever."""
    message = Message(topic="bug\udcff", body=b"\xff", headers={"x\udcff": "\udcff"}, id="\udcff")

    await cache.sources.quarantine([Unreadable(id="1", source="bus", format="f", reason="no \udcff", message=message)])

    (found,) = await cache.sources.quarantined()
    assert found.message == Message(topic="bug?", body=b"\xff", headers={"x?": "?"}, id="?")
    assert found.reason == "no ?"


async def test_topics_are_those_that_functions_depend_on(cache: Cache) -> None:
    """Each once, the widest of them, whatever values and fields they ask for; tags and calls have none."""

    @cache.cached(depends_on=[dep.Topic("bug.*", {"id": dep.arg("id")}), dep.Topic("bug.new"), dep.Tag("home")])
    async def bug(id: int) -> int:  # noqa: A002 - what it is
        return id

    @cache.cached(depends_on=[dep.Id("article", dep.arg("id")), dep.Scope("author", {"name": "x"})])
    async def article(id: int) -> int:  # noqa: A002 - what it is
        return id

    before = cache.sources.learnt

    @cache.cached(should_refresh=lambda event, name: event.body["name"] == name, topics=["shop.#", "bug.*"])
    async def shop(name: str) -> str:
        return name

    assert cache.sources.topics() == ("article.*", "author.*", "bug.*", "shop.#")
    assert cache.sources.learnt != before


@pytest.fixture(params=["sqlite", "redis"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """Each kind of store that processes share."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.mark.parametrize("how", ["learn", "tell"])
async def test_topics_of_other_processes_are_learnt(open_cache: OpenCache, shared_url: str, how: str) -> None:
    """Also where no event comes that could tell of them."""
    here, there = open_cache(shared_url), open_cache(shared_url)

    @there.cached()
    async def tracking() -> int:
        track(dep.Topic("bug.new"))
        return 1

    await here.sources.learn()
    before = here.sources.learnt
    assert (here.sources.topics(), here.sources.learnt) == ((), before)
    await tracking()

    if how == "learn":
        await here.sources.learn()
    else:
        await here.sources.tell(Report(source="bus", consumer="host:1", is_connected=True, topics=()))

    assert here.sources.topics() == ("bug.new",)
    assert here.sources.learnt != before


def kept(id_: str, *, source: str = "bus") -> Unreadable:
    """A message that nobody can read."""
    return Unreadable(id=id_, source=source, format="fedora", reason="no JSON", message=MESSAGE)


def offsets(sources: Sources) -> dict[str, str | None]:
    """How far each has come."""
    return {state.source: state.offset for state in sources.states}


def notices(cache: Cache) -> list[Notice]:
    """What is told from now on."""
    told: list[Notice] = []
    cache.listen(told.append)
    return told
