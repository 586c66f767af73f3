"""Conformance 18: joins, and lists that are shown page by page."""

import pytest

from everfresh import Event, dep, track
from everfresh.testing.plugin import AssertTouches, Drain
from tests.cache.making import Colour, done


@pytest.mark.parametrize(
    "event",
    [Event("bugzilla.bug.update", {"package": "bash"}), Event("koji.build.done", {"build": {"name": "bash"}})],
    ids=["bugzilla", "koji"],
)
async def test_a_value_that_joins_two_sources_is_rebuilt_by_events_of_either(
    colour: Colour, drain: Drain, event: Event
) -> None:
    """18: one event of one of them is enough; of another package none is."""
    sources = {"bugs": 1, "builds": 1}

    @colour.cached(
        depends_on=[
            dep.Topic("bugzilla.bug.*", where={"package": dep.arg("package")}),
            dep.Topic("koji.build.*", where={"build.name": dep.arg("package")}),
        ]
    )
    async def health(package: str) -> dict[str, int]:
        return dict(sources)

    await done(health("bash"))
    await done(health("zsh"))
    sources.update(bugs=2, builds=2)
    await colour.cache.publish(event)
    drained = await drain()

    assert drained.refreshed == [health.key("bash")]
    assert (await done(health("bash")), await done(health("zsh"))) == (
        {"bugs": 2, "builds": 2},
        {"bugs": 1, "builds": 1},
    )


async def test_a_value_that_is_built_from_two_others_is_rebuilt_when_either_changes(
    colour: Colour, drain: Drain
) -> None:
    """18: the join may be of cached functions, too."""
    sources = {"left": 1, "right": 1}

    @colour.cached(depends_on=[dep.Tag("left")])
    async def left() -> int:
        return sources["left"]

    @colour.cached(depends_on=[dep.Tag("right")])
    async def right() -> int:
        return sources["right"]

    @colour.cached()
    async def both() -> list[int]:
        return [await done(left()), await done(right())]

    seen = [await done(both())]
    for name in ("left", "right"):
        sources[name] = 2
        await colour.cache.invalidate(dep.Tag(name))
        await drain()
        seen.append(await done(both.peek()))

    assert seen == [[1, 1], [2, 1], [2, 2]]


@pytest.mark.parametrize(
    "event",
    [
        Event.change("book", after={"id": 7, "category": "sci-fi"}),
        Event.change("book", before={"id": 7, "category": "sci-fi"}),
        Event.change("book", before={"id": 7, "category": "sci-fi"}, after={"id": 7, "category": "fantasy"}),
    ],
    ids=["created", "deleted", "moved"],
)
async def test_every_page_and_page_size_is_touched(colour: Colour, assert_touches: AssertTouches, event: Event) -> None:
    """18: what comes first in a list moves all that comes after it; the pages of another list stay."""

    @colour.cached()
    async def books(category: str, *, page: int = 1, size: int = 20) -> list[int]:
        track(dep.Scope("book", {"category": category}))
        return [page, size]

    pages = [(page, size) for page in (1, 2, 3, 50) for size in (10, 20, 100)]
    for page, size in pages:
        await done(books("sci-fi", page=page, size=size))
        await done(books("poetry", page=page, size=size))

    assert_touches(event, [books.key("sci-fi", page=page, size=size) for page, size in pages])
