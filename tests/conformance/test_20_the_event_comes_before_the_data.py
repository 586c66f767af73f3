"""Conformance 20: an upstream that announces a change before it shows it."""

from datetime import timedelta

from everfresh import Event, dep
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from tests.cache.making import Colour, done
from tests.cache.upstreams import Upstream

SETTLE = (timedelta(seconds=2), timedelta(seconds=30))


async def test_the_value_is_right_in_the_end(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """20: it is looked at again after each delay, until it has changed; then no more."""

    @colour.cached(depends_on=[upstream.tag], settle=SETTLE)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.announce()
    seen: list[tuple[float, int | None, int]] = []
    for pause_s in (0, 1.9, 0.1, 27.9, 0.1, 3600):
        clock.advance(pause_s)
        # It shows late, between the two looks.
        upstream.value = 1 if len(seen) < 3 else 2
        await drain()
        seen.append((pause_s, await done(value.peek()), upstream.n_read))

    assert seen == [(0, 1, 2), (1.9, 1, 2), (0.1, 1, 3), (27.9, 1, 3), (0.1, 2, 4), (3600, 2, 4)]


async def test_the_event_itself_says_what_must_be_seen(colour: Colour, clock: FakeClock, drain: Drain) -> None:
    """20: with `settled` a value that changed for another reason is not taken for the one that was announced."""
    shown = {"version": 1, "n_read": 0}

    @colour.cached(
        depends_on=[dep.Topic("page.edited")],
        settle=SETTLE,
        settled=lambda event, value: value[0] >= event.body["version"],
    )
    async def page() -> list[int]:
        shown["n_read"] += 1
        return [shown["version"], shown["n_read"]]

    await done(page())
    await colour.cache.publish(Event("page.edited", {"version": 3}))
    await drain()
    shown["version"] = 2
    clock.advance(2)
    await drain()
    early = await done(page.peek())
    shown["version"] = 3
    clock.advance(28)
    await drain()

    assert (early, await done(page.peek())) == ([2, 3], [3, 4])
