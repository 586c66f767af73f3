"""An upstream that keeps failing pauses its function's refreshes, and burns nobody's attempts."""

from typing import Any

import pytest

from everfresh import Notice, State, dep
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES, FIRST_PAUSE_S, LONGEST_PAUSE_S
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, entry_of, is_fresh
from tests.cache.upstreams import Broken, Upstream
from tests.refresh.ringing import Bell

N = 8


class Scene:
    """A function with several entries over one upstream, and a worker that can be made to look."""

    def __init__(self, colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
        self.cache, self.upstream, self.clock = colour.cache, upstream, clock
        self.bell = Bell(colour)
        self.told: list[Notice] = []
        self.cache.listen(self.told.append)

        @colour.cached(depends_on=[upstream.tag], max_attempts=3)
        async def value(number: int) -> int:
            return upstream.read() * 100 + number

        self.value: Any = value

    async def set_up(self) -> None:
        """Build the entries."""
        await self.bell.hang()
        for number in range(N):
            await done(self.value(number))

    async def until_broken(self) -> None:
        """The upstream is down, and every entry was tried."""
        await self.upstream.break_down()
        await soon(lambda: self.names("refresh.failed") >= N, what="the first tries")

    async def pass_time(self, after_s: float) -> None:
        """The clock goes on, and the worker looks."""
        self.clock.advance(after_s)
        await self.bell.ring()

    def names(self, name: str) -> int:
        """How often that was told."""
        return sum(notice.name == name for notice in self.told)

    def told_of(self, name: str) -> Notice:
        """The first of these notices."""
        return next(notice for notice in self.told if notice.name == name)


@pytest.fixture
async def scene(colour: Colour, upstream: Upstream, clock: FakeClock) -> Scene:
    """A function that works so far."""
    scene = Scene(colour, upstream, clock)
    await scene.set_up()
    return scene


async def test_several_entries_that_fail_open_the_breaker(scene: Scene) -> None:
    """It is said once: which function, why, and for how long. The dice of these tests roll the most."""
    async with Worker(scene.cache):
        await scene.until_broken()
    notice = scene.told_of("breaker.opened")

    assert scene.names("breaker.opened") == 1
    assert dict(notice.fields) == {
        "function": scene.value.name,
        "error": "Broken: the upstream is down",
        "pause_s": FIRST_PAUSE_S,
    }


async def test_one_entry_that_keeps_failing_does_not(colour: Colour, scene: Scene) -> None:
    """It is broken by itself; the others go on."""

    @colour.cached(depends_on=[dep.Tag("one")], max_attempts=BREAK_AFTER_FAILURES + 2)
    async def one() -> int:
        return scene.upstream.read()

    await done(one())
    scene.upstream.is_broken = True
    async with Worker(scene.cache):
        await scene.cache.invalidate(dep.Tag("one"))
        for n in range(1, BREAK_AFTER_FAILURES + 3):
            await soon(lambda n=n: scene.names("refresh.failed") == n, what=f"try {n}")
            await scene.pass_time(600)

    assert ((await entry_of(one)).state, scene.names("breaker.opened")) == (State.FAILED, 0)


async def test_while_it_is_open_one_refresh_tries_after_each_pause(scene: Scene) -> None:
    """The others wait for what comes of it."""
    async with Worker(scene.cache):
        await scene.until_broken()
        n_tries: list[int] = []
        for _ in range(4):
            n_before = scene.names("refresh.failed")
            await scene.pass_time(LONGEST_PAUSE_S)
            await soon(lambda n=n_before: scene.names("refresh.failed") > n, what="a try")
            await scene.bell.ring()
            n_tries.append(scene.names("refresh.failed") - n_before)

    assert n_tries == [1, 1, 1, 1]


async def test_attempts_are_not_burnt(scene: Scene) -> None:
    """However long the upstream is down, no entry is given up for it."""
    async with Worker(scene.cache):
        await scene.until_broken()
        for _ in range(4 * N):
            n_before = scene.names("refresh.failed")
            await scene.pass_time(LONGEST_PAUSE_S)
            await soon(lambda n=n_before: scene.names("refresh.failed") > n, what="a try")
    entries = [await entry_of(scene.value, number) for number in range(N)]

    assert {entry.state for entry in entries} == {State.DIRTY}
    assert max(entry.attempts for entry in entries) == 1


async def test_a_try_that_succeeds_closes_it_and_all_follow(scene: Scene) -> None:
    """At once: the clock stands still from then on."""
    async with Worker(scene.cache):
        await scene.until_broken()
        scene.upstream.is_broken, scene.upstream.value = False, 2
        await scene.pass_time(2 * LONGEST_PAUSE_S)
        for number in range(N):
            await soon(lambda number=number: is_fresh(scene.value, number), what=f"entry {number}")

    assert scene.names("breaker.closed") == 1
    assert dict(scene.told_of("breaker.closed").fields) == {"function": scene.value.name}


async def test_an_open_breaker_holds_no_other_function_up(colour: Colour, scene: Scene) -> None:
    """Each has its own."""

    @colour.cached(depends_on=[scene.upstream.tag])
    async def other() -> int:
        return scene.upstream.value

    await done(other())
    async with Worker(scene.cache):
        await scene.until_broken()
        scene.upstream.value = 2
        await scene.upstream.announce()
        await soon(lambda: is_fresh(other), what="the other function's refresh")

    assert await done(other.peek()) == 2


async def test_readers_still_ask_the_upstream(scene: Scene) -> None:
    """They want to know now; and if it works again, their build closes the breaker."""
    async with Worker(scene.cache):
        await scene.until_broken()
        with pytest.raises(Broken):
            await done(scene.value(0))
        scene.upstream.is_broken = False
        seen = await done(scene.value(0))
        await soon(lambda: scene.names("breaker.closed"), what="the notice")

    assert seen == 100
