"""Watching: what somebody who watches an entry has seen of it, and when to look again though nobody told of anything.

Time alone tells nobody: that a lifetime ends, that a failed build may be tried again, that an event asks for another
look. A worker sees to these. Where none runs, the next reader does, and whoever watches is that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress

from everfresh.cache.background import Background
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import Engine
from everfresh.model.entry import Entry, State
from everfresh.model.errors import StoreClosed
from everfresh.protocol.reading import Rebuild, is_settled, read, retry_in_s, verdict
from everfresh.protocol.requests import Call, Load, Loaded, Policy, Steps, ask

# The clock may be set, and a worker may end: nobody waits longer before looking whether it is time.
_LONGEST_S = 60.0
# Until the end of a time is seen by the store's clock.
_LEAST_S = 0.001


class Watched:
    """What somebody who watches an entry has seen of it."""

    def __init__(self) -> None:
        self._n_failed = 0
        self._n_unsettled = 0
        self._n_unkept = 0
        self._digest = ""
        self.try_at: float | None = None
        """When to build again what was built without something that failed, by the store's clock."""

    def is_news(self, entry: Entry) -> bool:
        """Whether the value is another than the last one. A cached error is news only to who has seen nothing yet."""
        self._n_failed = 0
        if entry.is_error:
            return not self._digest
        is_other = entry.digest != self._digest
        self._digest = entry.digest
        return is_other

    def look_at(self, entry: Entry, policy: Policy, now: float) -> float | None:
        """When to look again, by the store's clock, after this was served; None when time alone changes nothing."""
        self._n_unkept = 0 if entry.version else self._n_unkept + 1
        self.try_at = None
        if is_settled(entry, now):
            self._n_unsettled = 0
            return entry.ends_at()
        if entry.state is State.FAILED:
            return None
        if entry.retry_at is not None and entry.retry_at > now:
            self.try_at = entry.retry_at
            return self.try_at
        # Somebody refreshes it, who may fail, which is not told here, or die.
        self._n_unsettled += 1
        return now + min(policy.lease_s, policy.first_retry_s * 2.0 ** min(self._n_unsettled - 1, 32))

    def is_put_off(self, loaded: Loaded, policy: Policy) -> bool:
        """Whether a build now would come before its time: what was served here waits for its next try, as it stands.

        That a makeshift value was stored, by whomever, is told to all who watch; built at once, the next would be as
        makeshift, and so on. An event that touches the entry ends the pause.
        """
        entry, now = loaded.entry, loaded.now
        if self.try_at is None or entry is None or entry.retry_at is None:
            return False
        # No pause is longer than the longest: the clock was set back.
        is_early = all(0 < at - now <= policy.longest_retry_s for at in (self.try_at, entry.retry_at))
        return is_early and verdict(loaded, policy.bounds, loaded.position.sequence) == Rebuild()

    @property
    def is_in_vain(self) -> bool:
        """Whether what was built here is not kept, time after time: what is told of that is no news."""
        return self._n_unkept > 1

    def pause_s(self, policy: Policy, roll: float) -> float | None:
        """How long to wait after a read that raised; None when nothing was seen yet, so that it should be raised."""
        if not self._digest:
            return None
        self._n_failed += 1
        wait_s = retry_in_s(self._n_failed, policy, roll)
        return policy.longest_retry_s if wait_s is None else wait_s


def wait_s(look_at: float | None, now: float, *, has_worker: bool) -> float | None:
    """How long to wait for news of an entry; None for as long as it takes. A worker of this process comes first."""
    if look_at is None:
        return None
    return _LONGEST_S if has_worker else min(max(look_at - now, _LEAST_S), _LONGEST_S)


def _look(call: Call, watched: Watched) -> Steps[Entry | None]:
    """The entry now, built if need be; None while its next try is put off."""
    if watched.try_at is not None:
        loaded = yield from ask(Load(call.key, call.fingerprint))
        if watched.is_put_off(loaded, call.policy):
            return None
    return (yield from read(call, call.policy.bounds))


def blocking_changes(
    engine: Engine, driver: BlockingDriver, background: Background, call: Call, woken: threading.Event
) -> Generator[Entry, None, None]:
    """The entry now, then each with another value, for ever; who calls has `woken` set at each of its records."""
    watched = Watched()
    while True:
        woken.clear()
        try:
            entry = driver.run(_look(call, watched))
        except StoreClosed:
            raise
        except Exception:
            pause_s = watched.pause_s(call.policy, engine.dice())
            if pause_s is None:
                raise
        else:
            look_at = watched.try_at if entry is None else watched.look_at(entry, call.policy, engine.clock())
            if watched.is_in_vain:
                woken.clear()
            if entry is not None and watched.is_news(entry):
                yield entry
            pause_s = wait_s(look_at, engine.clock(), has_worker=background.n_workers > 0)
        woken.wait(pause_s)


async def changes(
    engine: Engine, driver: AsyncDriver, background: Background, call: Call, woken: asyncio.Event
) -> AsyncGenerator[Entry, None]:
    """The same for asyncio."""
    watched = Watched()
    while True:
        woken.clear()
        try:
            entry = await driver.run(_look(call, watched))
        except StoreClosed:
            raise
        except Exception:
            pause_s = watched.pause_s(call.policy, engine.dice())
            if pause_s is None:
                raise
        else:
            look_at = watched.try_at if entry is None else watched.look_at(entry, call.policy, engine.clock())
            if watched.is_in_vain:
                # What was done here rings in the next turn of the loop.
                await asyncio.sleep(0)
                woken.clear()
            if entry is not None and watched.is_news(entry):
                yield entry
            pause_s = wait_s(look_at, engine.clock(), has_worker=background.n_workers > 0)
        # Not `wait_for`: before Python 3.12 that loses a cancellation which comes together with the bell.
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await woken.wait()
