"""Circuit: spares everybody the wait for a server that did not answer just now.

    closed ──a step has failed──▶ open ──after a pause──▶ half open: one step tries ──it is answered──▶ closed
                                   ▲                                                └─it fails──▶ open, twice as long

Only what says that nobody answers counts: a refused or cut connection, a silence. A server that answers with an error
is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# A server that restarts is back in about a second; whoever waits for it is late by no more than the pause.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Circuit:
    """Whether it is worth asking; safe from every thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._n_failed = 0
        # Until then nobody asks; who comes first afterwards tries for all.
        self._open_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether the server answered when it was asked last."""
        return not self._n_failed

    def admits(self) -> bool:
        """Whether to ask now. Whoever is admitted tells how it went."""
        if not self._n_failed:
            return True
        with self._lock:
            now = self._clock()
            if self._n_failed and now < self._open_until:
                return False
            # The others wait for this one, as long as the pause was; it may be that it never comes back.
            self._open_until = now + self._pause_s()
            return True

    def note_answer(self) -> bool:
        """The server answered; whether that is news."""
        if not self._n_failed:
            return False
        with self._lock:
            was_open, self._n_failed = self._n_failed > 0, 0
            return was_open

    def note_failure(self) -> bool:
        """Nobody answered; whether that is news."""
        with self._lock:
            self._n_failed += 1
            self._open_until = self._clock() + self._pause_s()
            return self._n_failed == 1

    def _pause_s(self) -> float:
        # Beyond 2**8 the longest pause decides anyway.
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._n_failed - 1, 8))
