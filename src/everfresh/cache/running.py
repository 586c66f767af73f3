"""Running a user's function in its build's context, whatever its colour and whoever calls.

A build fails by an `Exception`, and is given back, to be begun anew at once, when it is cut short: by a cancellation,
or the end of the program. What looks like the one and is the other is told apart here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from types import TracebackType
from typing import Any

from everfresh.cache.builds import Run
from everfresh.cache.context import advising_on_context, missing_variable
from everfresh.cache.keeper import running_loop
from everfresh.model.errors import BuildError


async def result_of(run: Run, context: Context, *, is_refresh: bool = False) -> Any:  # noqa: ANN401 - whatever the user's function gives
    """What an async function gives, in the context, which only a task of its own can have.

    With `is_refresh` a worker builds: nobody has called to whom anything but an `Exception` could mean something.
    """
    name = run.spec.name

    async def main() -> Any:  # noqa: ANN401 - as above
        task = asyncio.current_task()
        # Here too: what would end the program must not come out of a task.
        with _Failing(name, is_refresh=is_refresh, may_be_closed=lambda: _current_task() is not task):
            return await run()

    with _Advising(name), _Failing(name, is_refresh=is_refresh, may_be_closed=lambda: True):
        return await asyncio.get_running_loop().create_task(main(), context=context)


def blocking_result_of(run: Run, context: Context, *, is_refresh: bool = False) -> Any:  # noqa: ANN401 - as above
    """What a function of either colour gives; an async one runs in an event loop of its own."""
    if run.spec.is_async:
        return _run_coroutine(run, context, is_refresh=is_refresh)
    with _Advising(run.spec.name), _Failing(run.spec.name, is_refresh=is_refresh, may_be_closed=lambda: False):
        return context.run(run)


class _Advising:
    """Notes on an error about a context variable that is not set what to do.

    As the one below it is no `contextmanager`: that writes into each error that passes, and one that is frozen refuses.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Around a build of the function."""

    def __exit__(self, _: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, Exception) and missing_variable(error) is not None:
            with suppress(Exception), advising_on_context(self._name):
                raise error
            error.with_traceback(traceback)


class _Failing:
    """Makes a failure of what ends the function, unless it is for whoever called it, or closes the coroutine.

    Given back instead, a build that a worker begins would begin again a thousand times a second.
    """

    def __init__(self, name: str, *, is_refresh: bool, may_be_closed: Callable[[], bool]) -> None:
        self._name = name
        self._is_refresh = is_refresh
        self._may_be_closed = may_be_closed

    def __enter__(self) -> None:
        """Around a call of the function."""

    def __exit__(self, _: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is None or isinstance(error, Exception):
            return
        if isinstance(error, GeneratorExit):
            is_meant = self._may_be_closed()
        else:
            is_meant = _is_for_the_caller(error, self._is_refresh)
        if is_meant:
            return
        if isinstance(error, asyncio.CancelledError):
            msg = f"{self._name}: something that it waited for was cancelled, and nobody cancelled its build."
        else:
            msg = (
                f"{self._name}: it ended with {type(error).__name__}, which ends more than a build. Raise an Exception."
            )
        raise BuildError(msg) from error


def _is_for_the_caller(error: BaseException, is_refresh: bool) -> bool:  # noqa: FBT001 - the one thing it hangs on
    match error:
        case asyncio.CancelledError():
            return _is_cancelled()
        case KeyboardInterrupt():
            return True
        case SystemExit():
            # In the main thread it may come from a signal, whatever runs there; of others it ends no more than the
            # thread, which is not the function's own.
            return threading.current_thread() is threading.main_thread()
        case _:
            # Such as a timeout of gevent, which is of whoever has set it.
            return not is_refresh


def _is_cancelled() -> bool:
    """Whether somebody cancelled the task that runs here."""
    task = _current_task()
    return task is not None and task.cancelling() > 0


def _current_task() -> asyncio.Task[Any] | None:
    return None if running_loop() is None else asyncio.current_task()


def _run_coroutine(run: Run, context: Context, *, is_refresh: bool) -> Any:  # noqa: ANN401 - as above
    if running_loop() is None:
        return asyncio.run(result_of(run, context, is_refresh=is_refresh))
    answer: list[Any] = []
    errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            answer.append(asyncio.run(result_of(run, context, is_refresh=is_refresh)))
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=in_thread, name="everfresh-build", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answer[0]
