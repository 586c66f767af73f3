"""Cancellations: none is lost on the way through the driver.

The driver sends with `asyncio.wait_for`, which up to Python 3.11 passes a cancellation over that comes as it ends. Who
was cancelled would go on, and hold a lease for a caller who is not there any more.
"""

from __future__ import annotations

import asyncio


class Cancellations:
    """Those of the task that makes this, from then on."""

    __slots__ = ("_n_before", "_task")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._n_before = 0 if self._task is None else self._task.cancelling()

    def heed(self) -> None:
        """Be cancelled, if somebody asked for it and it was passed over.

        Raises:
            CancelledError: somebody did.
        """
        if self._task is not None and self._task.cancelling() > self._n_before:
            raise asyncio.CancelledError
