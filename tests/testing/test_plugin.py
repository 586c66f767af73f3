"""The pytest plugin: assertions that explain themselves, and the work of a worker within a test."""

import asyncio
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from everfresh import ArgumentNotSupported, AsyncFunction, Cache, Event, State, dep
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import AssertTouches, AssertUntouched, Drain, RecordEvents
from tests.cache.fixtures import OpenCache, cache, clock, colour, open_cache, sqlite_url, upstream, url
from tests.cache.making import CachedFunction, Colour, done, entry_of
from tests.cache.upstreams import Broken, Upstream

__all__ = ["cache", "clock", "colour", "open_cache", "sqlite_url", "upstream", "url"]

pytest_plugins = ["pytester"]

Titles = CachedFunction[[int], str]


def renamed(number: int) -> Event:
    return Event.change(
        "article", before={"id": number, "title": "a"}, after={"id": number, "title": "b"}, changed=["title"]
    )


@pytest.fixture
def everfresh_cache(cache: Cache) -> Cache:
    """Which cache the fixtures of the plugin are about."""
    return cache


@pytest.fixture
def title(colour: Colour) -> Titles:
    """A cached function of an article's number."""

    @colour.cached(depends_on=[dep.Id("article", dep.arg("number"))], key="title:{number}")
    async def title(number: int) -> str:
        return f"title {number}"

    return title


@pytest.fixture
def page(colour: Colour, title: Titles) -> Titles:
    """A function that is built from others."""

    @colour.cached(key="page:{number}")
    async def page(number: int) -> str:
        return f"<h1>{await done(title(number))}</h1>"

    return page


def said_by(assertion: pytest.ExceptionInfo[AssertionError]) -> list[str]:
    return str(assertion.value).splitlines()


# ------------------------------------------------------------------------------------------------------- assert_touches


async def test_assert_touches_holds_for_exactly_the_touched_calls(title: Titles, assert_touches: AssertTouches) -> None:
    """One event or several; the order and the number of the names do not matter, and one key needs no list."""
    for number in (1, 2, 3):
        await done(title(number))

    assert_touches(renamed(1), title.key(1))
    assert_touches([renamed(3), renamed(1)], [title.key(1), title.key(3), title.key(1)])
    assert_touches(Event("something.else"), [])


async def test_assert_touches_changes_nothing(title: Titles, assert_touches: AssertTouches) -> None:
    """It asks what would happen."""
    await done(title(1))
    assert_touches(renamed(1), [title.key(1)])

    assert (await entry_of(title, 1)).state is State.FRESH


async def test_a_failure_lists_what_is_missing_and_what_is_too_much_with_its_dependencies(
    title: Titles, everfresh_cache: Cache, assert_touches: AssertTouches
) -> None:
    """So that the wrong dependency is seen in the output of the test."""
    await done(title(1))
    await done(title(2))
    await everfresh_cache.put("homepage", "text", dep.Id("article", 1), dep.Tag("hop"))

    with pytest.raises(AssertionError) as failure:
        assert_touches(renamed(1), [title.key(1), title.key(2)])

    assert said_by(failure) == [
        (
            "event article.update {'before': {'id': 1, 'title': 'a'}, 'after': {'id': 1, 'title': 'b'}, "
            "'changed': ['title']} should touch exactly what is expected."
        ),
        "expected, but not touched:",
        "  title:2",
        "    depends on:",
        "      id article 2",
        "touched, but not expected:",
        "  homepage",
        "    depends on:",
        "      id article 1",
        "      tag hop",
        "touched as expected:",
        "  title:1",
    ]


async def test_a_missing_call_that_is_not_in_the_cache_is_said_to_be_so(
    title: Titles, assert_touches: AssertTouches
) -> None:
    """The commonest mistake in such a test: nothing was built that could be touched."""
    with pytest.raises(AssertionError) as failure:
        assert_touches(renamed(1), [title.key(1)])

    assert said_by(failure)[2:] == [
        "  title:1",
        "    is not in the cache. Build it, or put it, before you say what touches it.",
    ]


async def test_a_missing_call_that_was_built_from_a_touched_one_says_how(
    title: Titles, page: Titles, colour: Colour, assert_touches: AssertTouches
) -> None:
    """It is built again only if the inner value changes, so it is not touched; people take it to be."""

    @colour.cached(key="site")
    async def site() -> str:
        return await done(page(1))

    await done(site())
    with pytest.raises(AssertionError) as failure:
        assert_touches(renamed(1), [title.key(1), site.key()])

    assert said_by(failure)[2:] == [
        "  site",
        "    depends on:",
        "      call page:1",
        "    was built from page:1 from title:1, which is touched",
        "touched as expected:",
        "  title:1",
    ]


async def test_a_surplus_that_comes_from_widening_gives_the_reason(cache: Cache, assert_touches: AssertTouches) -> None:
    """An update without a before image touches every list, which no dependency alone explains."""
    await cache.put("fantasy", [], dep.Scope("book", {"category": "fantasy"}))

    with pytest.raises(AssertionError) as failure:
        assert_touches(Event.change("book", after={"category": "sci-fi"}, changed=["category"]), [])

    lines = said_by(failure)
    assert lines[1:5] == [
        "touched, but not expected:",
        "  fantasy",
        "    depends on:",
        "      scope book where category = fantasy",
    ]
    assert lines[5].startswith("  (as a whole: scope book")


async def test_long_lists_and_bodies_are_cut(cache: Cache, assert_touches: AssertTouches) -> None:
    """A page of two hundred rows must not hide the rest of the message."""
    await cache.put("page", 1, *(dep.Tag(f"t{number:03}") for number in range(200)))
    with pytest.raises(AssertionError) as failure:
        assert_touches(Event("much", {"text": "x" * 5000}), ["page"])

    lines = said_by(failure)
    assert (len(lines), lines[-1]) == (15, "      and 190 more")
    assert len(lines[0]) < 300


def test_what_is_no_key_is_refused(assert_touches: AssertTouches) -> None:
    """With how it is written."""
    with pytest.raises(TypeError, match=r"Write function.key\(arguments\)"):
        assert_touches(renamed(1), [1])  # type: ignore[list-item]  # the mistake is the test


def test_no_event_is_a_mistake_in_the_test(assert_touches: AssertTouches, assert_untouched: AssertUntouched) -> None:
    """Of no event everything would hold."""
    with pytest.raises(AssertionError, match="no event is given"):
        assert_touches([], [])
    with pytest.raises(AssertionError, match="no event is given"):
        assert_untouched([])


# ----------------------------------------------------------------------------------------------------- assert_untouched


async def test_assert_untouched_holds_for_what_the_events_leave_alone(
    title: Titles, assert_untouched: AssertUntouched
) -> None:
    """Of the calls that are named; without names, of the whole cache."""
    await done(title(1))
    await done(title(2))

    assert_untouched([renamed(1), renamed(3)], [title.key(2)])
    assert_untouched(renamed(3))


async def test_assert_untouched_names_what_is_touched_and_why(title: Titles, assert_untouched: AssertUntouched) -> None:
    """With and without names."""
    await done(title(1))
    await done(title(2))
    messages: list[list[str]] = []
    for calls in ([title.key(1), title.key(2)], None):
        with pytest.raises(AssertionError) as failure:
            assert_untouched(renamed(1), calls)
        messages.append(said_by(failure)[1:])

    assert messages == [["touched:", "  title:1", "    depends on:", "      id article 1"]] * 2


async def test_what_was_built_from_a_touched_entry_is_not_left_alone(
    title: Titles, page: Titles, assert_untouched: AssertUntouched
) -> None:
    """Its readers wait until it is known whether the inner value changed."""
    await done(page(1))
    with pytest.raises(AssertionError) as failure:
        assert_untouched(renamed(1), [page.key(1)])

    assert said_by(failure)[1:] == [
        "not known to be left alone:",
        "  page:1",
        "    depends on:",
        "      call title:1",
        "    was built from title:1, which is touched",
    ]


async def test_what_is_not_in_the_cache_is_not_said_to_be_left_alone(
    title: Titles, assert_untouched: AssertUntouched
) -> None:
    """Such a test could never fail; nor one that names nothing."""
    with pytest.raises(AssertionError, match="title:1\n    is not in the cache"):
        assert_untouched(renamed(2), [title.key(1)])
    with pytest.raises(AssertionError, match="no call is named"):
        assert_untouched(renamed(2), [])


# ---------------------------------------------------------------------------------------------------------------- drain


async def test_drain_refreshes_until_nothing_is_due(
    title: Titles, page: Titles, everfresh_cache: Cache, drain: Drain, upstream: Upstream, colour: Colour
) -> None:
    """What a worker would do, done when the call returns; outer entries after the inner ones that changed."""

    @colour.cached(depends_on=[upstream.tag], key="inner")
    async def inner() -> int:
        return upstream.read()

    @colour.cached(key="outer")
    async def outer() -> int:
        return await done(inner()) + 1

    await done(outer())
    await upstream.change(5)
    drained = await drain()

    assert drained.refreshed == ["inner", "outer"]
    assert (await done(outer.peek()), upstream.n_read) == (6, 2)
    assert (await drain()).refreshed == []


def test_drain_in_blocking_code_refreshes_both_colours(cache: Cache, drain: Drain) -> None:
    """Without an event loop of the test's own."""
    n_built = {"blocking": 0, "asynchronous": 0}

    @cache.cached(depends_on=[dep.Tag("t")])
    def blocking() -> int:
        n_built["blocking"] += 1
        return n_built["blocking"]

    @cache.cached(depends_on=[dep.Tag("t")])
    async def asynchronous() -> int:
        n_built["asynchronous"] += 1
        return n_built["asynchronous"]

    blocking()
    asyncio.run(_awaited(asynchronous))
    cache.blocking.invalidate(dep.Tag("t"))
    drained = drain.blocking()

    assert sorted(drained.refreshed) == sorted([blocking.key(), asynchronous.key()])
    assert (n_built, blocking()) == ({"blocking": 2, "asynchronous": 2}, 2)


async def _awaited(function: AsyncFunction[[], int]) -> int:
    return await function()


async def test_drain_tells_of_failures_and_of_when_the_next_try_is_due(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """A build that raises is the application's affair; what waits is not waited for."""

    @colour.cached(depends_on=[upstream.tag], key="value")
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    drained = await drain()
    upstream.is_broken = False
    assert drained.next_s is not None
    clock.advance(drained.next_s)
    again = await drain()

    assert [(key, type(error)) for key, error in drained.failed.items()] == [("value", Broken)]
    assert (drained.refreshed, again.refreshed, again.next_s) == ([], ["value"], None)


async def test_drain_tells_of_what_was_dropped_instead(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """A refresh that nobody began in time."""

    @colour.cached(depends_on=[upstream.tag], key="value", job_expires=timedelta(seconds=60))
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    clock.advance(61)
    drained = await drain()

    assert (drained.dropped, drained.refreshed) == (["value"], [])


async def test_drain_is_not_stopped_by_an_entry_of_another_release(
    open_cache: OpenCache, sqlite_url: str, upstream: Upstream
) -> None:
    """A recipe that this code cannot read is told like any failure."""

    def old(number: int) -> int:
        return number

    def new(name: str, size: int) -> int:
        return size

    old.__qualname__ = new.__qualname__ = "value"
    before, after = open_cache(sqlite_url), open_cache(sqlite_url)
    function = before.cached(depends_on=[dep.Tag("t")])(old)
    after.cached(depends_on=[dep.Tag("t")])(new)
    function(1)
    await after.invalidate(dep.Tag("t"))
    drained = await Drain(after)()

    assert [(key, type(error)) for key, error in drained.failed.items()] == [(function.key(1), ArgumentNotSupported)]


async def test_nothing_else_refreshes_while_a_test_drains(colour: Colour, upstream: Upstream, drain: Drain) -> None:
    """A reader that is served an old value sets off no refresh by itself, so the test decides when it happens."""

    @colour.cached(depends_on=[upstream.tag], key="value", stale_while_revalidate=timedelta(hours=1))
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    old = await done(value())
    drained = await drain()

    assert (old, drained.refreshed, await done(value()), upstream.n_read) == (1, ["value"], 2, 2)


async def test_afterwards_readers_refresh_again(cache: Cache) -> None:
    """The drain leaves nothing behind."""
    with Drain.of(cache):
        pass

    assert cache.background.n_workers == 0


async def test_drain_gives_up_on_refreshes_without_an_end(cache: Cache) -> None:
    """With the names of those that go round."""

    @cache.cached(depends_on=[dep.Tag(dep.arg("number"))], key="step:{number}")
    async def step(number: int) -> int:
        return number

    await step(1)
    await step(2)
    await cache.invalidate(dep.Tag(1), dep.Tag(2))

    with pytest.raises(AssertionError, match=r"drain: 2 refreshes, and there is no end; the last: step:1, step:2\."):
        await Drain(cache, max_builds=1)()


async def test_as_many_refreshes_as_are_allowed_are_no_error(cache: Cache) -> None:
    """The bound is for those that never end."""

    @cache.cached(depends_on=[dep.Tag("t")], key="value")
    async def value() -> int:
        return 1

    await value()
    await cache.invalidate(dep.Tag("t"))

    assert (await Drain(cache, max_builds=1)()).refreshed == ["value"]


async def test_drain_blocking_in_an_event_loop_says_what_to_write(drain: Drain) -> None:
    """It would stand still."""
    with pytest.raises(RuntimeError, match=r"Write: await drain\(\)"):
        drain.blocking()


# -------------------------------------------------------------------------------------------------------- record_events


async def test_record_events_gives_what_is_published_in_the_block(cache: Cache, record_events: RecordEvents) -> None:
    """In order, by either colour; not what came before or after, nor what was only asked about."""
    await cache.publish(Event("before"))
    with record_events() as events:
        await cache.publish(Event("one", {"n": 1}), Event("two"))
        cache.blocking.publish(renamed(1))
        await cache.touched_by(Event("asked"))
        await cache.invalidate(dep.Tag("t"))
    await cache.publish(Event("after"))

    assert events == [Event("one", {"n": 1}), Event("two"), renamed(1)]


async def test_an_event_that_had_to_be_applied_twice_is_recorded_once(
    cache: Cache, record_events: RecordEvents, title: Titles
) -> None:
    """A store that learnt a shape meanwhile refuses the first try."""
    await done(title(1))
    await cache.put("k", 1, dep.Scope("article", {"title": "b"}))
    with record_events() as events:
        await cache.publish(renamed(1))

    assert events == [renamed(1)]


async def test_record_events_follows_transactions(cache: Cache, record_events: RecordEvents) -> None:
    """What a block holds back comes at its good end, and never when it raises."""
    with record_events() as events:
        async with cache.transaction():
            await cache.publish(Event("kept"))
            assert events == []
        with pytest.raises(ZeroDivisionError), cache.blocking.transaction():  # noqa: PT012 - the block is what fails
            cache.blocking.publish(Event("lost"))
            _ = 1 / 0

    assert [event.topic for event in events] == ["kept"]


async def test_recordings_may_be_nested(cache: Cache, record_events: RecordEvents) -> None:
    """Each has what was published in its own block."""
    with record_events() as outer:
        await cache.publish(Event("one"))
        with record_events() as inner:
            await cache.publish(Event("two"))

    assert [[event.topic for event in events] for events in (outer, inner)] == [["one", "two"], ["two"]]


# ------------------------------------------------------------------------------------------------------- pytest's side

_CONFTEST = """
import pytest
from everfresh import Cache

@pytest.fixture
def everfresh_cache():
    with Cache("memory:") as cache:
        yield cache
"""

_TESTS = """
from everfresh import Event, dep

def change(number):
    return Event.change("article", before={"id": number}, after={"id": number})

def declared(cache):
    @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
    def title(number: int) -> int:
        return number
    title(1)
    return title

def test_blocking(everfresh_cache, assert_touches, assert_untouched, drain, record_events):
    title = declared(everfresh_cache)
    assert_touches(change(1), [title.key(1)])
    assert_untouched(change(2))
    with record_events() as events:
        everfresh_cache.blocking.publish(change(1))
    assert events == [change(1)]
    assert drain.blocking().refreshed == [title.key(1)]

async def test_asynchronous(everfresh_cache, assert_touches, assert_untouched, drain, record_events):
    title = declared(everfresh_cache)
    assert_touches(change(1), [title.key(1)])
    assert_untouched(change(2))
    with record_events() as events:
        await everfresh_cache.publish(change(1))
    assert events == [change(1)]
    assert (await drain()).refreshed == [title.key(1)]

def test_that_fails(everfresh_cache, assert_touches):
    title = declared(everfresh_cache)
    assert_touches(change(2), [title.key(1)])
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project that has pytest, asyncio and Everfresh."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def test_a_project_has_the_fixtures_by_installing_everfresh(project: pytest.Pytester) -> None:
    """Nothing is imported or registered by hand; both colours of test; a failure shows the message and no insides."""
    project.makeconftest(_CONFTEST)
    project.makepyfile(_TESTS)

    result = project.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*event article.update {'before': {'id': 2}, 'after': {'id': 2}} should touch exactly what is expected.*",
            "*expected, but not touched:*",
            "*title@1(number=1)*",
            "*depends on:*",
            "*id article 1*",
        ]
    )
    result.stdout.no_fnmatch_line("*__tracebackhide__*")


def test_the_cache_may_come_from_an_async_fixture(project: pytest.Pytester) -> None:
    """For applications that open theirs in an event loop; sync tests have it too."""
    project.makeconftest(
        """
        import pytest
        from everfresh import Cache

        @pytest.fixture
        async def everfresh_cache():
            async with Cache("memory:") as cache:
                yield cache
        """
    )
    project.makepyfile(_TESTS)

    result = project.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, failed=1)


def test_a_project_that_does_not_name_its_cache_is_told_how(project: pytest.Pytester) -> None:
    """The error says what to write, and where."""
    project.makepyfile("def test_it(assert_touches): pass")

    result = project.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*everfresh_cache: nobody has said which cache is meant. Write a fixture of this name into conftest.py*",
            "*@pytest.fixture*",
            "*def everfresh_cache():*",
            "*return my_application.cache*",
        ]
    )


def test_a_run_that_does_not_ask_for_a_fixture_imports_nothing(tmp_path: Path) -> None:
    """The plugin costs the many runs nothing that have Everfresh installed and do not use it."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert 'everfresh_pytest' in sys.modules\n"
        "    assert [name for name in sys.modules if name.split('.')[0] == 'everfresh'] == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_what_the_fixtures_give_needs_no_server(tmp_path: Path) -> None:
    """The core alone is enough; no part for the web is imported, nor pytest."""
    program = (
        "import sys, everfresh.testing.plugin\n"
        "print([name for name in ('starlette', 'uvicorn', 'httpx2', 'everfresh.push', 'everfresh.asgi', 'pytest') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, capture_output=True, text=True)

    assert done.stdout == "[]\n"


def test_the_entry_point_is_the_plugin() -> None:
    """Pytest finds it by the group that it looks in."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"everfresh": "everfresh_pytest"}
