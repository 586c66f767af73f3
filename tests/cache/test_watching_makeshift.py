"""Watching a function that goes on without what failed: nobody asks the dead upstream before the next try is due."""

import asyncio

import msgspec
import pytest

from everfresh import FOREVER, Entry, Key, Position, State
from everfresh.cache.watching import Watched
from everfresh.protocol.requests import Bounds, Loaded, Policy
from everfresh.testing.clock import FakeClock
from tests.cache.making import CachedFunction, Colour, done
from tests.cache.upstreams import Broken, Upstream

NOW = 1_000.0
AT = Position("e", 5)
MAKESHIFT = Entry(
    key=Key("k"),
    function="f",
    state=State.DIRTY,
    version=1,
    value=b"",
    digest="d",
    position=Position("e", 1),
    changed_at=Position("e", 1),
    built_at=NOW,
    build_s=0.0,
    stale_since=NOW,
    retry_at=NOW + 5,
)
POLICY = Policy(longest_retry_s=60.0)


def without(colour: Colour, upstream: Upstream) -> CachedFunction[[], int]:
    """A function that gives -1 when the one that it calls fails."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached(depends_on=[upstream.tag])
    async def outer() -> int:
        try:
            found: int = await done(inner())
        except Broken:
            return -1
        return found

    return outer


async def test_a_makeshift_value_is_not_built_again_before_its_time(colour: Colour, upstream: Upstream) -> None:
    """That it was stored is told to all who watch, and is no reason to build it: the clock stands still here."""
    outer = without(colour, upstream)

    @colour.cached()
    async def other(number: int) -> int:
        return number

    async with colour.watching(outer) as one, colour.watching(outer) as two:
        seen = [await one.next(), await two.next()]
        await upstream.break_down()
        seen += await asyncio.gather(one.next(), two.next())
        coming = [asyncio.create_task(watch.next()) for watch in (one, two)]
        for number in range(200):
            await colour.start(other, number)
        n_read = upstream.n_read
        upstream.is_broken = False
        await upstream.change(2)
        seen += await asyncio.gather(*coming)

    assert seen == [1, 1, -1, -1, 2, 2]
    # The first, and one of each who watches.
    assert n_read <= 3


async def test_it_is_built_again_when_its_time_has_come(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """Nobody tells that the upstream is well."""
    outer = without(colour, upstream)

    async with colour.watching(outer) as watch:
        seen = [await watch.next()]
        await upstream.break_down()
        seen.append(await watch.next())
        upstream.is_broken, upstream.value = False, 2
        clock.advance(600.0)
        seen.append(await watch.next())

    assert seen == [1, -1, 2]


def is_put_off(
    entry: Entry | None, *, served: Entry = MAKESHIFT, now: float = NOW + 1, policy: Policy = POLICY
) -> bool:
    """Whether who was served the one builds nothing when it finds the other."""
    watched = Watched()
    watched.look_at(served, policy, NOW)
    return watched.is_put_off(Loaded(entry=entry, position=AT, applied=AT.sequence, now=now), policy)


def changed(**changes: object) -> Entry:
    """Another makeshift entry."""
    return msgspec.structs.replace(MAKESHIFT, **changes)


def test_who_was_served_a_makeshift_value_waits_for_its_next_try() -> None:
    """Also when another one has tried again meanwhile."""
    assert is_put_off(MAKESHIFT)
    assert is_put_off(changed(retry_at=NOW + 9, version=2))


@pytest.mark.parametrize(
    "entry",
    [None, changed(retry_at=None), changed(state=State.FRESH, stale_since=None), changed(retry_at=NOW + 1)],
    ids=["dropped", "touched", "settled", "due"],
)
def test_news_end_the_wait(entry: Entry | None) -> None:
    """Whatever became of it, it is looked at at once."""
    assert not is_put_off(entry)


def test_the_wait_ends_with_its_own_time() -> None:
    """Others who try again and again do not keep one from it; nor does a clock that was set back."""
    assert not is_put_off(changed(retry_at=NOW + 9), now=NOW + 5)
    assert not is_put_off(MAKESHIFT, now=NOW - 3_600)


def test_who_was_served_a_settled_value_builds_at_once() -> None:
    """It has not seen what takes its place."""
    settled = changed(state=State.FRESH, stale_since=None, retry_at=None)

    assert not is_put_off(MAKESHIFT, served=settled)


def test_what_is_within_the_bounds_is_served() -> None:
    """That builds nothing."""
    bounds = Bounds(stale_while_revalidate_s=FOREVER.total_seconds())

    assert not is_put_off(MAKESHIFT, policy=Policy(longest_retry_s=60.0, bounds=bounds))
