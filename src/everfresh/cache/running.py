"""Running a user's function in its build's context, whatever its colour and whoever calls."""

from __future__ import annotations

import asyncio
import threading
from contextvars import Context
from typing import Any

from everfresh.cache.builds import Run
from everfresh.cache.context import advising_on_context
from everfresh.cache.keeper import running_loop


async def result_of(run: Run, context: Context) -> Any:  # noqa: ANN401 - whatever the user's function gives
    """What an async function gives, in the context, which only a task of its own can have."""

    async def main() -> Any:  # noqa: ANN401 - as above
        return await run()

    with advising_on_context(run.spec.name):
        return await asyncio.get_running_loop().create_task(main(), context=context)


def blocking_result_of(run: Run, context: Context) -> Any:  # noqa: ANN401 - as above
    """What a function of either colour gives; an async one runs in an event loop of its own."""
    if run.spec.is_async:
        return _run_coroutine(run, context)
    with advising_on_context(run.spec.name):
        return context.run(run)


def _run_coroutine(run: Run, context: Context) -> Any:  # noqa: ANN401 - as above
    if running_loop() is None:
        return asyncio.run(result_of(run, context))
    answer: list[Any] = []
    errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            answer.append(asyncio.run(result_of(run, context)))
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=in_thread, name="everfresh-build", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answer[0]
