"""The grace of a worker whose block ends: what it holds is finished in that time, and the rest is given back."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from everfresh import FOREVER, Cache, InvalidOption, State
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream

BRIEF = timedelta(milliseconds=50)


class Held:
    """A cached function whose refresh stops at the gate, and a worker that is refreshing it."""

    def __init__(self, colour: Colour, upstream: Upstream, gate: Gate) -> None:
        self.cache = colour.cache
        self.cancelled: list[str] = []
        self.gate = gate

        @colour.cached(depends_on=[upstream.tag])
        async def value() -> int:
            number = upstream.read()
            if upstream.n_read > 1:
                try:
                    await gate.stop()
                except asyncio.CancelledError:
                    self.cancelled.append("value")
                    raise
            return number

        self.value = value
        self._upstream = upstream
        self._is_leaving = asyncio.Event()

    async def work(self, grace: timedelta) -> None:
        """What is in the worker's block: a refresh begins."""
        async with Worker(self.cache, grace=grace):
            await self._upstream.change(2)
            await self.gate.reached()
            self._is_leaving.set()

    async def leaving(self, *, grace: timedelta) -> asyncio.Task[None]:
        """A worker whose block is at its end, which the refresh holds up."""
        await done(self.value())
        working = asyncio.create_task(self.work(grace))
        await self._is_leaving.wait()
        await soon(lambda: self.cache.background.n_workers == 0, what="the end of the worker's block")
        return working


@pytest.fixture
def held(colour: Colour, upstream: Upstream, gate: Gate) -> Held:
    """One of each colour, on each store."""
    return Held(colour, upstream, gate)


@pytest.mark.parametrize("grace", [timedelta(seconds=20), FOREVER], ids=["seconds", "forever"])
async def test_a_build_under_way_is_finished_and_stored(held: Held, grace: timedelta) -> None:
    """Its work is not thrown away, whatever its colour."""
    working = await held.leaving(grace=grace)
    held.gate.open()
    await working

    assert (held.cancelled, await is_fresh(held.value), await done(held.value.peek())) == ([], True, 2)


async def test_nothing_new_is_taken_meanwhile(held: Held, colour: Colour, upstream: Upstream) -> None:
    """What falls due now is for others."""

    @colour.cached(depends_on=[upstream.tag])
    async def other() -> int:
        return upstream.value

    working = await held.leaving(grace=timedelta(seconds=20))
    await done(other())
    await upstream.announce()
    held.gate.open()
    await working

    assert (await entry_of(other)).state is State.DIRTY


@pytest.mark.parametrize("colour", ["asyncio"], indirect=True)
async def test_after_its_grace_an_asynchronous_build_is_given_back(held: Held) -> None:
    """It is cancelled, and no failed try; the clock of this test stands still, so no lease runs out."""
    working = await held.leaving(grace=BRIEF)
    await working
    entry = await entry_of(held.value)

    assert (held.cancelled, entry.state, entry.attempts) == (["value"], State.DIRTY, 0)


@pytest.mark.parametrize("colour", ["blocking"], indirect=True)
async def test_after_its_grace_a_blocking_build_is_given_back_and_waited_for(held: Held, colour: Colour) -> None:
    """Another begins at once, with the thread still there; what the thread makes in the end changes nothing."""
    told: list[str] = []
    working = await held.leaving(grace=BRIEF)

    async def is_given_back() -> bool:
        return (await entry_of(held.value)).state is State.DIRTY

    await soon(is_given_back, what="its lease given back")
    colour.cache.listen(lambda notice: told.append(notice.name))
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("everfresh-build")]
    is_waiting = not working.done()
    held.gate.open()
    rebuilt = await asyncio.to_thread(held.value)
    await working
    entry = await entry_of(held.value)

    assert (len(names), is_waiting, rebuilt, entry.state, entry.attempts) == (1, True, 2, State.FRESH, 0)
    assert sorted(told) == ["build.done", "lease.lost"]


@pytest.mark.parametrize("colour", ["asyncio"], indirect=True)
async def test_without_grace_it_is_given_back_at_once(held: Held) -> None:
    """For whoever has no time at all."""
    working = await held.leaving(grace=timedelta(0))
    await working

    assert held.cancelled == ["value"]


@pytest.mark.parametrize("colour", ["asyncio"], indirect=True)
async def test_whoever_is_cancelled_in_the_grace_does_not_wait_it_out(held: Held) -> None:
    """A second Ctrl-C, say: the builds are given back at once, and nothing is left behind."""
    working = await held.leaving(grace=FOREVER)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await soon(lambda: held.cancelled == ["value"], what="the cancellation")

    assert (await entry_of(held.value)).state is State.DIRTY


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), 1, None])
def test_a_grace_that_is_no_duration_is_refused(open_cache: OpenCache, grace: Any) -> None:  # noqa: ANN401 - a mistake
    """When the worker is made."""
    cache: Cache = open_cache()
    with pytest.raises(InvalidOption, match="grace"):
        Worker(cache, grace=grace)
