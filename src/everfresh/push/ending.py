"""Ending: how streams hear that their process is about to stop, while there is still time to say goodbye.

A server waits for open answers before it stops, and tells an application of its end only after that. So a stream has
to hear of it by another way:

- `everfresh web` and `everfresh run` offer one in each request's scope: whoever takes it is asked to end, and not cut.
- Under any other server signals are listened to, beside the server's own handling of them: `saying_goodbye`.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Protocol, cast

from everfresh.asgi import Scope

EXTENSION = "everfresh.end"
"""The name among a scope's extensions under which a server offers to call a function at its end."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# What a server's own handler is: a function of a signal and a frame, or nothing, or one of two defaults.
_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Drained(Protocol):
    """What has streams; `Updates` is such."""

    def drain(self) -> Coroutine[Any, Any, None]:
        """Say goodbye on every stream and end it."""
        ...


def at_end(scope: Scope, end: Callable[[], None]) -> None:
    """Have the server call `end` when its process is told to stop, at once if it was already, where it offers that.

    The answer is not cut then: whoever took part has to end it soon.
    """
    extensions = scope.get("extensions")
    if isinstance(extensions, dict):
        take = cast("dict[str, object]", extensions).get(EXTENSION)
        if callable(take):
            take(end)


@contextmanager
def saying_goodbye(*drained: Drained) -> Generator[None]:
    """Drain these when SIGTERM or SIGINT comes, and let the server do what it does then; for a server of your own.

        @asynccontextmanager
        async def lifespan(app):
            with saying_goodbye(updates):
                yield

    In the `lifespan`, as the server has its handlers by then: ours call them. Outside the main thread, where nobody may
    handle signals, nothing is done: whoever runs the server there calls `drain`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    goodbye = _Goodbye(drained)
    before: dict[int, _Handler] = {number: signal.signal(number, goodbye.on_signal) for number in _SIGNALS}
    goodbye.before.update(before)
    try:
        yield
    finally:
        for number, handler in before.items():
            # Whoever took the signal after us keeps it.
            if signal.getsignal(number) == goodbye.on_signal:
                signal.signal(number, handler)


class _Goodbye:
    """Handles signals beside whoever handled them before."""

    def __init__(self, drained: tuple[Drained, ...]) -> None:
        self._drained = drained
        self._loop = asyncio.get_running_loop()
        self._draining: set[asyncio.Task[None]] = set()
        self.before: dict[int, _Handler] = {}

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed, so no stream is open
            self._loop.call_soon_threadsafe(self._drain)
        handler = self.before.get(number)
        if callable(handler):
            handler(number, frame)
        elif handler != signal.SIG_IGN:
            # Nobody else ends the process, as without us the signal would have done.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end, number)

    def _drain(self) -> None:
        for one in self._drained:
            task = self._loop.create_task(one.drain())
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    def _end(self, number: int) -> None:
        def raised(_: object) -> None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

        asyncio.ensure_future(asyncio.gather(*self._draining, return_exceptions=True)).add_done_callback(raised)
