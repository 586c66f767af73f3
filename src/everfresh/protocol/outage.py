"""Reading while the store does not answer: what is held near, within the bounds, or what the function gives.

Nothing that is served here is stored. What the lost connection made unknowable is served within the bounds that the
function declares, and no further; to call the function is always good, and costs what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TypeVar

from everfresh.model.entry import Entry, Key, Lease
from everfresh.model.errors import StoreUnavailable
from everfresh.model.position import Position
from everfresh.protocol.requests import (
    Bounds,
    BuildAlone,
    Built,
    Call,
    Committed,
    OnStoreFailure,
    Recall,
    Steps,
    ask,
)
from everfresh.protocol.unstored import unstored_entry

T = TypeVar("T")

# Of no life of any store, so that no reader takes what is as of here for good as of anything.
_NOWHERE = Position("", 0)
WITHOUT_STORE = "it was built while the store did not answer"


class RaisedByFunction(Exception):
    """The store answers; it is the function that raised this, maybe of a store of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def despite_outage(steps: Steps[T], calls: Sequence[Call], otherwise: Callable[[], Steps[T]] | None) -> Steps[T]:
    """The steps; what is otherwise done, when the store does not answer and the function's policy is to call it."""
    try:
        return (yield from steps)
    except RaisedByFunction as raised:
        raise raised.error from None
    except StoreUnavailable:
        if otherwise is None or not _is_called(calls[0]):
            raise
    return (yield from otherwise())


def rather_raising(steps: Steps[T], error: Exception) -> Steps[T]:
    """The steps that tell the store of a function's error; what is raised is that error, when the store is gone too."""
    try:
        return (yield from steps)
    except StoreUnavailable:
        raise RaisedByFunction(error) from None


def kept_anyway(steps: Steps[Committed], call: Call, lease: Lease, built: Built) -> Steps[Committed]:
    """The steps that store what was built; when the store is gone, who asked has it all the same.

    Whether it was stored nobody knows. If not, the lease runs out, and somebody builds it again.
    """
    try:
        return (yield from steps)
    except StoreUnavailable:
        if not _is_called(call):
            raise
    return Committed(entry_alone(call, built, lease), is_changed=False, is_stored=False)


def passed_on(error: Exception) -> Exception:
    """A function's error as it passes through steps that look for errors of the store."""
    return RaisedByFunction(error) if isinstance(error, StoreUnavailable) else error


def read_alone(calls: Sequence[Call], bounds: Bounds) -> Steps[list[Entry]]:
    """An entry for each call, which are of one function; what the function raises is raised."""
    found: dict[Key, Entry] = {}
    missing: dict[Key, Call] = {}
    for call in calls:
        entry = yield from _recalled(call, bounds)
        if entry is None:
            missing[call.key] = call
        else:
            found[call.key] = entry
    if missing:
        # A run that fails is raised as it is.
        outcomes = yield from ask(BuildAlone(tuple(missing.values()), bounds.is_strict))
        for call, outcome in zip(missing.values(), outcomes, strict=True):
            if isinstance(outcome, Exception):
                raise outcome
            found[call.key] = entry_alone(call, outcome, lease_alone(call.key))
    return [found[call.key] for call in calls]


def lease_alone(key: Key) -> Lease:
    """Stands for the lease that nobody could give."""
    return Lease(key=key, token=0, begun=_NOWHERE, until=inf)


def entry_alone(call: Call, built: Built, lease: Lease) -> Entry:
    """What was built, for who asked alone."""
    return unstored_entry(
        lease,
        built,
        function=call.recipe.function,
        position=lease.begun,
        now=lease.begun_at + built.build_s,
        reason=WITHOUT_STORE,
    )


def _is_called(call: Call) -> bool:
    return call.policy.on_store_failure is OnStoreFailure.CALL


def _recalled(call: Call, bounds: Bounds) -> Steps[Entry | None]:
    """What was held near, if it is of this function and the bounds allow it."""
    bound_s = max(bounds.stale_while_revalidate_s, bounds.stale_if_error_s)
    if bound_s <= 0 or bounds.is_strict:
        return None
    recalled = yield from ask(Recall(call.key))
    if recalled is None:
        return None
    entry, unknown_s = recalled
    return entry if entry.function == call.recipe.function and unknown_s < bound_s else None
