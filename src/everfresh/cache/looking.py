"""Looking late: at the entries that a function said in an event loop that it hangs on.

To look keeps the loop waiting, so that is done when the function has ended, before what it gave is stored, or the error
that it raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from everfresh.cache.builds import Run
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.requests import Load
from everfresh.stores.store import Store

T = TypeVar("T")


async def having_looked(run: Run, store: Store, given: Awaitable[T]) -> T:
    """What the function gives, or raises."""
    try:
        value = await given
    except Exception:
        await _look(run, store)
        raise
    await _look(run, store)
    return value


def having_looked_blocking(run: Run, store: Store, give: Callable[[], T]) -> T:
    """The same in a thread."""
    try:
        value = give()
    except Exception:
        _look_blocking(run, store)
        raise
    _look_blocking(run, store)
    return value


async def _look(run: Run, store: Store) -> None:
    for key in run.owed:
        found = None
        with suppress(StoreUnavailable):
            found = (await store.carry_out_async(Load(key))).entry
        run.saw_late(key, found)


def _look_blocking(run: Run, store: Store) -> None:
    for key in run.owed:
        found = None
        with suppress(StoreUnavailable):
            found = store.carry_out(Load(key)).entry
        run.saw_late(key, found)
