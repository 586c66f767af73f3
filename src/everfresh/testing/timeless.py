"""An event loop in which waiting takes no time: when all tasks wait, its clock leaps to the next moment that is due.

What waits for minutes is tested in milliseconds, and in the same order each time. Only tasks that wait for time or for
each other: while a thread or a socket works, the clock would leap as well.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from everfresh.model.marks import override

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Never waits for a time, but says how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.leapt_s = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.leapt_s += timeout
        return ready


class TimelessLoop(asyncio.SelectorEventLoop):
    """The event loop; its clock begins at 0."""

    def __init__(self) -> None:
        self._leaping = _Selector()
        super().__init__(self._leaping)

    @override
    def time(self) -> float:
        return self._leaping.leapt_s


def run_timeless(main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end in a loop of its own, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        return runner.run(main)


async def elapse(seconds: float) -> None:
    """Let so much time pass, with all that is due in it; in a loop of this kind alone, as anywhere else it would wait.

    Raises:
        AssertionError: it is another loop.
    """
    if not isinstance(asyncio.get_running_loop(), TimelessLoop):
        raise AssertionError("elapse: time passes by itself here. Run the test by run_timeless.")  # noqa: TRY004 - a test is wrong
    await asyncio.sleep(seconds)
