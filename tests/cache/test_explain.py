"""`explain`: how fresh a value is and why, what touched it last, what would, and who built it. Conformance 29."""

from datetime import timedelta
from typing import Any

import pytest

from everfresh import Cache, Event, NotInCache, State, dep, track
from everfresh.cache.explaining import Explanation, span
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done, is_fresh
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def test_a_fresh_value_says_why_it_is_fresh(colour: Colour) -> None:
    """And that nothing is to be done."""

    @colour.cached()
    async def value() -> int:
        return 1

    await done(value())
    explained = await colour.cache.explain(value.key())

    assert (explained.state, explained.why, explained.waits_for, explained.version, explained.stale_since) == (
        State.FRESH,
        "nothing that touches it has happened since it was built",
        "",
        1,
        None,
    )


async def test_a_touched_value_names_the_event(colour: Colour, clock: FakeClock) -> None:
    """By its topic and its id; with since when it is out of date."""

    @colour.cached(depends_on=[dep.Topic("bug.*")])
    async def value() -> int:
        return 1

    await done(value())
    clock.advance(5)
    await colour.cache.publish(Event("bug.update", id="m-7"))
    touched_at = clock()
    clock.advance(5)
    explained = await colour.cache.explain(value.key())

    assert (explained.state, explained.why, explained.stale_since, explained.at - touched_at) == (
        State.DIRTY,
        "event bug.update m-7",
        touched_at,
        5.0,
    )
    assert explained.waits_for == "a refresh, due for 5 s"


async def test_the_last_events_are_kept_after_the_refresh(colour: Colour) -> None:
    """Oldest first; who looks at a value that is right wants to know what made it so."""

    @colour.cached(depends_on=[dep.Topic("bug.*")])
    async def value() -> int:
        return 1

    await done(value())
    for number in range(7):
        await colour.cache.publish(Event("bug.update", id=f"m-{number}"))
        await done(value())
    explained = await colour.cache.explain(value.key())

    assert explained.events[-2:] == ("event bug.update m-5", "event bug.update m-6")
    assert explained.state is State.FRESH


DEPENDENCIES: list[tuple[dep.Dependency, str]] = [
    (dep.Topic("bug.*", where={"b.name": "Fedora", "b.id": 7}), "topic bug.* where b.id = 7, b.name = Fedora"),
    (dep.Topic("bug.#"), "topic bug.#"),
    (dep.Topic("bug", where={"n": dep.lt(7)}), "topic bug where n lt 7"),
    (dep.Topic("bug", where={"n": dep.between(1, 9)}), "topic bug where n between 1, 9"),
    (dep.Topic("bug", where={"n": dep.not_(dep.one_of("new", "old"))}), "topic bug where n not one_of new, old"),
    (dep.Topic("bug", where={"title": dep.startswith("a\nb")}), "topic bug where title startswith a\\nb"),
    (dep.Topic("bug", where={"closed": dep.is_null()}), "topic bug where closed is_null"),
    (dep.Topic("bug", where={"closed": None}), "topic bug where closed = null"),
    (dep.Id("article", 1), "id article 1"),
    (dep.Id("article", 1, watch=("title", "date")), "id article 1 watching date, title"),
    (dep.Scope("book", {"genre": "sf"}, watch=("title",)), "scope book where genre = sf watching title"),
    (dep.Scope("book", mode="any"), "scope book in any event"),
    (dep.Tag("homepage"), "tag homepage"),
]


@pytest.mark.parametrize(("dependency", "text"), DEPENDENCIES, ids=[text for _, text in DEPENDENCIES])
async def test_a_value_says_which_events_would_touch_it(cache: Cache, dependency: dep.Dependency, text: str) -> None:
    """In the words of `dep`; what no terminal should be sent is escaped."""
    await cache.put("k", 1, dependency)

    assert (await cache.explain("k")).dependencies == (text,)


async def test_a_function_that_judges_events_itself_is_named(cache: Cache) -> None:
    """Which events touch it only its own code can say."""

    @cache.cached(should_refresh=lambda event: event.id == "m-7", topics=("bug.*",))
    def bugs() -> int:
        return 1

    bugs()
    (text,) = bugs.explain().dependencies

    assert text == f"topic bug.*, if should_refresh of {bugs.name} says so"


async def test_what_a_value_was_built_from_is_named(colour: Colour, upstream: Upstream) -> None:
    """Both ways, and which of it is unsettled."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def other() -> int:
        return 1

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) + await done(other())

    await done(outer())
    await upstream.change(2)
    explained = await colour.cache.explain(outer.key())
    below = await colour.cache.explain(inner.key())

    assert (explained.state, explained.why) == (State.SUSPECT, f"{inner.key()} is unsettled")
    assert set(explained.built_from) == {inner.key(), other.key()}
    assert (explained.unsettled, below.used_by) == ((inner.key(),), (outer.key(),))


async def test_a_failure_is_told_with_its_error(colour: Colour, upstream: Upstream) -> None:
    """How often it failed, and when the next try is due."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    explained = await colour.cache.explain(value.key())

    assert (explained.why, explained.waits_for) == (
        "its build failed once: Broken: the upstream is down",
        "a refresh, due in 0.5 s",
    )


async def test_what_is_given_up_says_so(colour: Colour, upstream: Upstream) -> None:
    """Until an event, or a person."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    explained = await colour.cache.explain(value.key())

    assert (explained.state, explained.why, explained.waits_for) == (
        State.FAILED,
        "given up after once: Broken: the upstream is down",
        "an event that touches it, or retry",
    )


async def test_a_build_under_way_is_told_of(colour: Colour) -> None:
    """By whoever asks meanwhile."""
    explained: list[Explanation] = []

    @colour.cached()
    async def value() -> int:
        explained.append(colour.cache.blocking.explain(value.key()))
        return 1

    await done(value())

    assert (explained[0].state, explained[0].version, explained[0].why, explained[0].waits_for) == (
        State.BUILDING,
        0,
        "its first build",
        "the build under way",
    )
    assert "  value: none yet" in str(explained[0]).splitlines()


async def test_who_built_a_value_is_named(colour: Colour, upstream: Upstream) -> None:
    """A reader, or a worker."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    by_reader = await colour.cache.explain(value.key())
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")
    by_worker = await colour.cache.explain(value.key())

    assert [explained.built_by.split()[0] for explained in (by_reader, by_worker)] == ["reader", "worker"]


async def test_a_value_whose_lifetime_is_over_says_so(by_hand: ByHand, clock: FakeClock) -> None:
    """The clock alone made it so; no event did."""
    await by_hand.put("k", 1, expires=60)
    before = await by_hand.explain("k")
    clock.advance(60)
    after = await by_hand.explain("k")

    assert [before.why, after.why] == [
        "nothing that touches it has happened since it was built",
        "its lifetime is over",
    ]


async def test_what_is_not_there_is_an_error_that_says_how_it_may_have_gone(by_hand: ByHand) -> None:
    """A KeyError like that of `get`."""
    with pytest.raises(NotInCache, match="'k' is not in the cache: it was never built or put, or was dropped since"):
        await by_hand.explain("k")


async def test_printed_it_is_a_page_for_people(colour: Colour, clock: FakeClock) -> None:
    """Every line answers one question; long lists are cut."""

    @colour.cached(key="page")
    async def page() -> str:
        track(*(dep.Id("article", number) for number in range(100, 112)))
        return "text"

    await done(page())
    clock.advance(7200)
    await colour.cache.publish(Event.change("article", before={"id": 101}, after={"id": 101}))
    clock.advance(90)
    lines = str(await colour.cache.explain("page")).splitlines()

    assert lines[:2] == ["page", "  dirty for 2 min: event article.update"]
    assert lines[2].startswith("  value: version 1, 5 bytes, built by reader ")
    assert lines[2].endswith(" 2 h ago")
    assert lines[3:7] == [
        "  waits for: a refresh, due for 2 min",
        "  touched by:",
        "    id article 100",
        "    id article 101",
    ]
    assert lines[15:] == ["    and 2 more", "  last events:", "    event article.update"]


async def test_a_put_value_is_told_from_a_built_one(by_hand: ByHand, clock: FakeClock) -> None:
    """Nobody can build it again."""
    await by_hand.put("k", 1, expires=60)
    clock.advance(1)

    assert str(await by_hand.explain("k")).splitlines() == [
        "k",
        "  fresh: nothing that touches it has happened since it was built",
        "  value: version 1, 1 bytes, put by hand 1 s ago",
        "  lifetime: ends in 59 s",
        "  waits for: its end in 59 s",
        "  touched by: nothing",
        "  last events: none so far",
    ]


LIVES: list[tuple[dict[str, Any], str]] = [
    ({}, "its end in 1 min, then a refresh"),
    ({"on_change": "drop"}, "its end in 1 min, then the next reader builds it"),
    ({"keep_warm": timedelta(hours=1)}, "its end in 1 min, then a refresh"),
    (
        {"keep_warm": timedelta(seconds=30)},
        "its end in 1 min, then it is dropped, unless somebody reads it until then",
    ),
]


@pytest.mark.parametrize(("options", "waits_for"), LIVES, ids=["refresh", "drop", "warm", "cold"])
async def test_a_value_with_a_lifetime_waits_for_its_end(
    colour: Colour, options: dict[str, Any], waits_for: str
) -> None:
    """And for what its function does then."""

    @colour.cached(expires=60, **options)
    async def value() -> int:
        return 1

    await done(value())

    assert (await colour.cache.explain(value.key())).waits_for == waits_for


async def test_a_look_before_the_end_is_told_first(colour: Colour, clock: FakeClock) -> None:
    """What comes first is what it waits for."""

    @colour.cached(expires=60, depends_on=[dep.Tag("t")], settle=(timedelta(seconds=10), timedelta(seconds=90)))
    async def value() -> int:
        return 1

    await done(value())
    await colour.cache.invalidate(dep.Tag("t"))
    await done(value())
    before = await colour.cache.explain(value.key())
    clock.advance(10)
    await done(value.refresh())
    after = await colour.cache.explain(value.key())

    assert (before.waits_for, after.waits_for) == (
        "another look, due in 10 s",
        "its end in 1 min, then a refresh",
    )


async def test_a_value_that_is_an_error_says_so(colour: Colour) -> None:
    """By its type; what it says may be long, or secret."""

    @colour.cached(cache_errors=(Broken,))
    async def value() -> int:
        raise Broken("the upstream is down")

    with pytest.raises(Broken):
        await done(value())
    explained = await colour.cache.explain(value.key())
    line = str(explained).splitlines()[2]

    assert explained.error == "tests.cache.upstreams.Broken"
    assert line.startswith("  value: version 1, the error tests.cache.upstreams.Broken, ")


ESC, PRINTED = "\x1b[2J\n\u202e", r"\x1b[2J\n\u202e"


async def test_a_page_for_people_sends_nothing_to_their_terminal(by_hand: ByHand) -> None:
    """Whatever stands in keys, types and fields is shown, and one thing stays one line."""
    await by_hand.put(f"inner{ESC}", 1, dep.Id(f"type{ESC}", 1, watch=(f"title{ESC}",)))
    await by_hand.put(
        f"key{ESC}",
        1,
        dep.Topic("bug.*", where={f"field{ESC}": f"value{ESC}"}),
        dep.Scope(f"list{ESC}", where={f"price{ESC}": dep.lt(9)}),
        dep.Tag(f"tag{ESC}"),
        dep.Call(f"inner{ESC}"),
    )
    pages = [str(await by_hand.explain(key)) for key in (f"key{ESC}", f"inner{ESC}")]

    assert all(line.isprintable() for page in pages for line in page.split("\n"))
    shown = "\n".join(pages)
    words = ("key", "inner", "type", "title", "field", "value", "list", "price", "tag")
    assert [word for word in words if word + PRINTED not in shown] == []


async def test_an_event_and_an_error_send_nothing_to_a_terminal_either(colour: Colour) -> None:
    """What they say is somebody else's text."""

    @colour.cached(depends_on=[dep.Topic("bug.*")])
    async def value() -> int:
        if not is_up:
            raise Broken(ESC)
        return 1

    is_up = True
    await done(value())
    is_up = False
    await colour.cache.publish(Event("bug.update", id=ESC))
    before = str(await colour.cache.explain(value.key())).split("\n")
    with pytest.raises(Broken):
        await done(value())
    after = str(await colour.cache.explain(value.key())).split("\n")

    assert before[1].endswith(f": event bug.update {PRINTED}")
    assert after[1].endswith(f": its build failed once: Broken: {PRINTED}")
    assert after[-1] == f"    event bug.update {PRINTED}"


async def test_a_function_explains_its_own_values(colour: Colour) -> None:
    """By the arguments of the call."""

    @colour.cached()
    async def value(n: int) -> int:
        return n

    await done(value(1))

    assert (await done(value.explain(1))).key == value.key(1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0 s"), (0.25, "0.25 s"), (59.0, "59 s"), (90, "2 min"), (3600, "1 h"), (200_000, "2 d")],
)
def test_a_duration_is_told_in_one_unit(seconds: float, text: str) -> None:
    """As people say it."""
    assert span(seconds) == text


def test_an_explanation_cannot_be_changed() -> None:
    """It is what was known at one moment."""
    assert Explanation.__struct_config__.frozen
