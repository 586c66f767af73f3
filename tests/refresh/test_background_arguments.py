"""Refreshes that a reader sets off are nobody's: they see nothing of the reader's request but what is in the key."""

from datetime import timedelta

from everfresh import FOREVER, dep
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, is_fresh

TAG = dep.Tag("t")


async def test_a_refresh_has_no_ignored_arguments(colour: Colour) -> None:
    """The reader's session may be closed by then; a worker builds without it too."""
    seen: list[tuple[int, object]] = []

    @colour.cached(depends_on=[TAG], ignore=("session",), stale_while_revalidate=FOREVER)
    async def value(number: int, session: object = "none") -> int:
        seen.append((number, session))
        return len(seen)

    await done(value(1, session="request 1"))
    await colour.cache.invalidate(TAG)
    assert await done(value(1, session="request 2")) == 1
    await soon(lambda: is_fresh(value, 1), what="the refresh")

    assert seen == [(1, "request 1"), (1, "none")]


async def test_a_refresh_of_many_ids_has_no_ignored_arguments(colour: Colour) -> None:
    """As of one."""
    seen: list[object] = []

    @colour.cached_many(depends_on=[TAG], ignore=("session",), stale_while_revalidate=FOREVER)
    async def values(ids: list[int], session: object = "none") -> dict[int, int]:
        seen.append(session)
        return {number: len(seen) for number in ids}

    await done(values([1], session="request 1"))
    await colour.cache.invalidate(TAG)
    assert await done(values([1], session="request 2")) == {1: 1}
    await soon(lambda: is_fresh(values.one, 1), what="the refresh")

    assert seen == ["request 1", "none"]


async def test_a_reader_that_builds_itself_has_them(colour: Colour) -> None:
    """Its own build is part of its request."""
    seen: list[object] = []

    @colour.cached(depends_on=[TAG], ignore=("session",), stale_while_revalidate=timedelta(0))
    async def value(session: object = "none") -> int:
        seen.append(session)
        return len(seen)

    await done(value(session="request 1"))
    await colour.cache.invalidate(TAG)
    await done(value(session="request 2"))

    assert seen == ["request 1", "request 2"]
