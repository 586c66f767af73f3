"""The ways to read: a plain call, `fresh`, `peek`, `entry`, `refresh`."""

import pytest

from everfresh import FOREVER, State
from tests.cache.making import Colour, done, entry_of
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


async def test_after_an_event_a_plain_call_gives_the_new_value(colour: Colour, upstream: Upstream) -> None:
    """Never known to be out of date, unless the function says so."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await done(value()) == 2


async def test_an_event_that_concerns_something_else_builds_nothing(colour: Colour, upstream: Upstream) -> None:
    """Exactly what an event touches is built again."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.announce()
    await done(value())

    assert upstream.n_read == 1


async def test_fresh_gives_no_old_value_whatever_the_function_allows(colour: Colour, upstream: Upstream) -> None:
    """One caller may be stricter than the function."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await done(value.fresh()) == 2


async def test_fresh_takes_what_is_fresh(colour: Colour, upstream: Upstream) -> None:
    """It is strict, not wasteful."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await done(value.fresh())

    assert upstream.n_read == 1


async def test_peek_never_builds(colour: Colour, upstream: Upstream) -> None:
    """Where nothing is stored it gives None."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    assert (await done(value.peek()), upstream.n_read) == (None, 0)


async def test_peek_gives_what_is_stored_however_old(colour: Colour, upstream: Upstream) -> None:
    """For those who would rather have something than wait."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await done(value.peek()) == 1


async def test_refresh_builds_whatever_the_state(colour: Colour, upstream: Upstream) -> None:
    """For changes that no event tells of."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    await done(value())
    upstream.value = 2

    assert await done(value.refresh()) == 2


async def test_what_refresh_built_is_what_others_get(colour: Colour, upstream: Upstream) -> None:
    """A refresh is stored."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    for _ in range(3):
        await done(value())
    upstream.value = 2
    await done(value.refresh())

    assert await done(value()) == 2


async def test_entry_is_none_where_nothing_is_stored(colour: Colour) -> None:
    """It never builds."""

    @colour.cached()
    async def value() -> int:
        return 1

    assert await done(value.entry()) is None


async def test_an_entry_says_when_it_was_built_and_by_which_function(colour: Colour) -> None:
    """What a widget shows beside its value: as of, version, and what it hangs on."""

    @colour.cached()
    async def value() -> int:
        return 1

    await done(value())
    entry = await entry_of(value)

    now = 1_000_000.0
    seen = (entry.key, entry.function, entry.state, entry.version, entry.built_at, entry.stale_since, entry.reason)
    assert seen == (value.key(), value.name, State.FRESH, 1, now, None, "")


async def test_an_entry_says_since_when_and_why_it_is_not_fresh(colour: Colour, upstream: Upstream) -> None:
    """At night one wants to know which event it was."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.announce()
    entry = await entry_of(value)

    assert (entry.state, entry.stale_since, entry.reason) == (
        State.DIRTY,
        1_000_000.0,
        "invalidated Tag(name='upstream')",
    )


async def test_a_version_grows_with_each_changed_value(colour: Colour, upstream: Upstream) -> None:
    """An equal value is no new version."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    versions: list[int] = []
    for number in (1, 2, 2, 3):
        await upstream.change(number)
        await done(value())
        versions.append((await entry_of(value)).version)

    assert versions == [1, 2, 2, 3]


async def test_the_value_of_an_entry_can_be_loaded(colour: Colour) -> None:
    """From any entry of the function, without asking the store."""

    @colour.cached()
    async def value() -> tuple[int, str]:
        return (1, "a")

    await done(value())
    entry = await entry_of(value)

    assert value.load(entry) == (1, "a")
