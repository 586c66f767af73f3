"""Circuit: spares everybody the wait for a server that did not answer just now.

    closed ──a step has failed──▶ open ──the prober was answered──▶ closed
                                   └──the prober is not heard of──▶ one step tries

While it is open, a thread asks again and again: a reader that tried for all would sit through a silence. Only what says
that nobody can be served counts: a refused or cut connection, a silence, a server that loads its data. One that answers
with any other error is there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from everfresh.model.errors import StoreClosed, StoreError, StoreUnavailable
from everfresh.stores.redis.failures import DRIVER_ERRORS, is_out_of_order

_log = logging.getLogger("everfresh")

# A server that restarts is back in about a second; whoever waits for it is late by no more than the pause.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# Longer than the longest pause and a silence.
UNHEARD_S = 10.0


class Circuit:
    """Whether it is worth asking; safe from every thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._n_failed = 0
        # Until then nobody asks but the prober; who comes first afterwards tries for all.
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
            self._open_until = now + UNHEARD_S
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
            self._open_until = self._clock() + UNHEARD_S
            return self._n_failed == 1


class Prober:
    """Asks in a thread, again and again, until it is answered. `ask` raises the errors of the driver, or of a store."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_wanted = False
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin, and come back at once."""
        with self._lock:
            self._is_wanted = True
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._probe, name="everfresh-prober", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _probe(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.wait(pause_s):
            self._is_wanted = False
            try:
                self._ask()
            except StoreClosed:
                return
            except (StoreError, *DRIVER_ERRORS) as error:
                _log.debug("store.asked %s", {"error": str(error)})
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                with self._lock:
                    # Somebody may have failed since.
                    if not self._is_wanted:
                        self._thread = None
                        return
                pause_s = FIRST_PAUSE_S


class Gate:
    """Lets steps through to a server while that answers. `ask` asks it when it did not; the log is told of both."""

    def __init__(self, server: str, ask: Callable[[], None]) -> None:
        self._server = server
        self._ask = ask
        self._circuit = Circuit()
        self._prober = Prober(self._ask_again)

    @property
    def is_open(self) -> bool:
        """Whether the server answered when it was asked last."""
        return self._circuit.is_closed

    def check(self) -> None:
        """Pass.

        Raises:
            StoreUnavailable: the server did not answer just now.
        """
        if not self._circuit.admits():
            msg = f"{self._server}: it did not answer just now, and is asked again in a moment."
            raise StoreUnavailable(msg)

    def note_answer(self) -> None:
        """The server answered."""
        if self._circuit.note_answer():
            _log.warning("store.available %s", {"store": self._server})

    def note_failure(self, problem: Exception) -> None:
        """Nobody answered: from now on the server is asked here, until it does."""
        if self._circuit.note_failure():
            self.warn(problem)
        self._prober.start()

    def warn(self, problem: Exception) -> None:
        """Tell the log what is wrong."""
        _log.warning("store.unavailable %s", {"store": self._server, "problem": str(problem)})

    def stop(self) -> None:
        """Ask no more."""
        self._prober.stop()

    def _ask_again(self) -> None:
        try:
            self._ask()
        except DRIVER_ERRORS as error:
            if is_out_of_order(error):
                self._circuit.note_failure()
                raise
        self.note_answer()
