"""What a build's context is to user code: how a thread gets it, and what to do when something is not in it.

ADR-0007: a build sees no context variable of whoever asked. That its own threads see it is up to who starts them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

# Frameworks wrap the error of a variable that is not set once or twice.
_MAX_CAUSES = 8


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """The function, to be called in other threads as part of the build that runs here now.

    What it tracks, and the cached functions that it calls, count for this build; a call that leads back to what is
    being built is an error there too. `asyncio.to_thread` does this by itself, a `ThreadPoolExecutor` does not:

        with ThreadPoolExecutor() as threads:
            articles = list(threads.map(propagate(article), numbers))

    Any number of threads may call it at once. Outside a build it hands on the context variables of the caller.
    """
    context = copy_context()

    @wraps(function)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        # A context can be entered only once at a time, and a copy costs next to nothing.
        return context.copy().run(function, *args, **kwargs)

    return in_context


@contextmanager
def advising_on_context(function: str) -> Generator[None]:
    """Note on an error about a context variable that is not set what to do; runs around a build of the function."""
    try:
        yield
    except Exception as error:
        variable = missing_variable(error)
        # Through an outer build it comes by again; the inner one knows better.
        if variable is not None and not any(note.startswith(_NOTE) for note in getattr(error, "__notes__", ())):
            error.add_note(_advice(function, variable))
        raise


def missing_variable(error: BaseException) -> ContextVar[object] | None:
    """The context variable that was asked for and is not set, when that is what the error comes from."""
    for cause in _causes(error):
        if type(cause) is LookupError and cause.args and isinstance(cause.args[0], ContextVar):
            # What it would hold is unknown; nobody reads it here.
            return cast("ContextVar[object]", cause.args[0])
    return None


_NOTE = "everfresh: "


def _advice(function: str, variable: ContextVar[object]) -> str:
    return (
        f"{_NOTE}{function} is built for everybody, so it does not see the context variable {variable.name!r} of who "
        f"asked first. If the result hangs on it, take its value as an argument; if not, let it through: "
        f"cached(inherit=({variable.name},))."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
