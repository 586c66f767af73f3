"""Ending: how a process comes to its end, in bounded time, whatever its parts are doing.

- The first SIGTERM or SIGINT, or a part that breaks, asks for the end: the parts finish or give back what they hold.
- A second signal ends the process at once, as by default. One that comes with the first is none: a terminal and the
  program that started this one may both pass on a Ctrl-C.
- What has not ended by the deadline is left behind: a thread that builds cannot be cancelled, and an event loop that
  somebody keeps busy hears nothing. Leases that were not given back run out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType

_log = logging.getLogger("everfresh.process")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# After the grace: to give back leases, close connections and the store. With a grace of 1 s this makes less than 2 s.
_TIDYING_S = 0.7
# Between signals that mean one wish.
_SAME_WISH_S = 0.25
# A pipe that nobody reads must not keep the process.
_LAST_WORD_S = 0.1


class Ending:
    """Whether the end is asked for, why, and with which exit code."""

    def __init__(self, *, grace_s: float, at_cut: Callable[[], object] | None = None) -> None:
        self._left_s = grace_s + _TIDYING_S
        self._at_cut = at_cut
        self._signalled_at: float | None = None
        self._loop = asyncio.get_running_loop()
        # To put into it is safe within a signal handler, whatever that interrupts; locks and events are not.
        self._told: SimpleQueue[None] = SimpleQueue()
        self.asked = asyncio.Event()
        """Set when the end is asked for."""
        self.why = ""
        self.code = 0
        threading.Thread(target=self._cut, name="everfresh-end", daemon=True).start()

    def heed_signals(self) -> None:
        """Take signals as the wish to end."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def ask(self, why: str, code: int = 0) -> None:
        """Ask for the end; the first error decides about the exit code."""
        self.code = self.code or code
        if not self.asked.is_set():
            self.why = why
            self.asked.set()
            self._told.put(None)

    def lose_parent(self) -> None:
        """Whoever started this process is gone, which asks for the end; the second time, if it was asked for before."""
        if self.asked.is_set():
            os._exit(self.code)
        self.ask("its parent is gone")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signalled_at is None:
            self._signalled_at = now
            self._told.put(None)
            # Not the loop's own handler: a loop that is kept busy would not call it, and no deadline would begin.
            with suppress(RuntimeError):  # the loop is closed, so the end has come
                self._loop.call_soon_threadsafe(self.ask, signal.Signals(number).name)
        elif now - self._signalled_at > _SAME_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _cut(self) -> None:
        self._told.get()
        time.sleep(self._left_s)
        last = threading.Thread(target=self._tell_cut, daemon=True)
        last.start()
        last.join(_LAST_WORD_S)
        if self._at_cut is not None:
            self._at_cut()
        os._exit(self.code)

    def _tell_cut(self) -> None:
        threads = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
        _log.warning("process.cut %s", {"after_s": self._left_s, "code": self.code, "threads": threads})
