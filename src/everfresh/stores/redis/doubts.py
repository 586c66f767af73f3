"""Doubts: steps that were given up while they may have been carried out.

    given up ──the server answers again──▶ asked what became of it ──it was done──▶ its leases are given back
                                                       └──it was not──▶ and never will be, from now on

Who finds out that it answers settles that before others are let through, so that what was given up is not done after a
later step of this process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from redis import exceptions

from everfresh.protocol.queueing import leases_in
from everfresh.protocol.requests import GiveUp, Request
from everfresh.stores.redis.deadlines import time_of_refusal
from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.sending import Sent
from everfresh.stores.redis.slots import NOBODY

# Of more than these it is not asked: their leases run out, and their deadlines pass.
_MAX_DOUBTS = 200


class Doubts:
    """Those of one store. `ask` sends a step again and tells its answer; `do` carries out a request."""

    def __init__(self, ask: Callable[[Sent], Any], do: Callable[[Request[None]], None]) -> None:
        self._ask = ask
        self._do = do
        self._sent: deque[Sent] = deque(maxlen=_MAX_DOUBTS)
        self._lock = threading.Lock()

    def add(self, sent: Sent | None) -> None:
        """It was sent, and nobody knows what became of it."""
        if sent is not None and sent.slot is not NOBODY:
            self._sent.append(sent)

    def settle(self) -> None:
        """Ask what became of each. Raises the errors of the driver; what was not asked then stays in doubt."""
        if not self._sent:
            return
        with self._lock:
            while self._sent:
                sent = self._sent.popleft()
                try:
                    answer = self._ask(sent)
                except exceptions.ResponseError as error:
                    if time_of_refusal(error) is None:
                        # Full, or a replica now: it would say so to each, and the deadlines will do.
                        self._sent.clear()
                    continue
                except DRIVER_ERRORS:
                    self._sent.appendleft(sent)
                    raise
                for lease in leases_in(answer):
                    self._do(GiveUp(lease))
