"""The steps of the refresh queue: take what is due, queue, retry, note who reads, distrust everything."""

from __future__ import annotations

from collections.abc import Iterator

from everfresh.model.entry import Key, Kind, OnChange, State
from everfresh.protocol.queueing import Distrust, Due, Enqueue, Note, Retry, TakeDue, TookDue
from everfresh.protocol.requests import Limit
from everfresh.protocol.scheduling import (
    Quota,
    due_in_turn,
    has_lapsed,
    is_cold,
    pace_after_start,
    quota_of,
    urgency_of,
)
from everfresh.protocol.states import Step, next_state
from everfresh.stores.building import take_lease
from everfresh.stores.changing import drop, has_gone, queue
from everfresh.stores.tables import Row, Tables, new_epoch, record

# How many keys are looked at in one go when all are.
_CHUNK = 1_000


def take_due(tables: Tables, request: TakeDue) -> TookDue:
    """Carry out `TakeDue`."""
    now = tables.journal.now
    quotas = {name: _quota(tables, name, limit, request.n_max) for name, limit in request.functions.items()}
    rows, next_due = tables.due(now, {name: quota.n for name, quota in quotas.items() if quota.n}, request.n_max)
    taken: list[Due] = []
    expired: list[Key] = []
    cold: list[Key] = []
    for row in rows:
        if tables.row(row.key) is not row or row.recipe is None:
            # It was built from one that this step has dropped, and went with it.
            continue
        if has_lapsed(row.terms, queued_at=row.queued_at, due=row.due, now=now):
            expired.append(row.key)
            drop(tables, row)
        elif is_cold(row.terms, read_at=row.read_at, watched_until=row.watched_until, now=now):
            cold.append(row.key)
            drop(tables, row)
        elif has_gone(row, now):
            drop(tables, row)
        else:
            taken.append(Due(take_lease(tables, row, request.lease_s), row.recipe))
    _note_starts(tables, request, taken)
    nexts = [quota.next_at for quota in quotas.values() if quota.next_at is not None]
    if next_due is not None:
        nexts.append(next_due)
    if len(taken) < len(rows):
        nexts.append(now)
    return TookDue(tuple(taken), now, min(nexts, default=None), tuple(expired), tuple(cold))


def enqueue(tables: Tables, request: Enqueue) -> int:
    """Carry out `Enqueue`."""
    now = tables.journal.now
    n_new = 0
    for key, recipe in request.recipes.items():
        if tables.row(key) is not None:
            continue
        row = Row(key=key, recipe=recipe, state=State.DIRTY, terms=request.terms, read_at=now, queued_at=now)
        row.stale_since, row.reason, row.builder = now, "not built yet", "queued"
        queue(row, now, now)
        tables.counters.n_entries += 1
        record(tables, row, Kind.STALE)
        tables.save(row)
        n_new += 1
    return n_new


def retry(tables: Tables, request: Retry) -> int:
    """Carry out `Retry`."""
    now = tables.journal.now
    n_queued = 0
    for key in request.keys:
        row = tables.row(key)
        if row is None or row.is_leased(now) or (row.state is not State.FAILED and row.retry_at is None):
            continue
        row.state = next_state(row.state, Step.TOUCH)
        row.attempts, row.retry_at, row.queued_at = 0, None, now
        queue(row, now, now)
        record(tables, row, Kind.STALE)
        tables.save(row)
        n_queued += 1
    return n_queued


def note(tables: Tables, request: Note) -> None:
    """Carry out `Note`."""
    now = tables.journal.now
    for key in {**request.reads, **request.watched}:
        row = tables.row(key)
        if row is None:
            continue
        row.read_at = max(row.read_at, request.reads.get(key, 0.0))
        row.watched_until = max(row.watched_until, request.watched.get(key, 0.0))
        if row.token is None and row.due is not None:
            queue(row, row.due, now)
        tables.save(row)


def distrust(tables: Tables, request: Distrust) -> int:
    """Carry out `Distrust`. What sources left stays.

    The offset of a store that was put back is as old as the store: to go on from it brings again what was lost.
    """
    counters, now = tables.counters, tables.journal.now
    counters.epoch = new_epoch()
    counters.sequence += 1
    counters.applied = counters.fired_floor = counters.feed_floor = counters.sequence
    # Of each entry only what the order needs: a store may hold more entries than memory holds rows.
    order: list[tuple[int, float, Key]] = []
    for key in _all_keys(tables):
        row = tables.row(key)
        if row is None:
            # It was built from one that is dropped, and went with it.
            continue
        if row.is_wanted:
            # It holds nothing yet that could be wrong.
            order.append((*urgency_of(row.terms, read_at=row.read_at, watched_until=0.0), key))
        elif row.recipe is None or row.version == 0 or row.terms.on_change is OnChange.DROP:
            drop(tables, row)
        else:
            order.append((*urgency_of(row.terms, read_at=row.read_at, watched_until=row.watched_until), key))
    n_dirty = 0
    for _, _, key in sorted(order):
        row = tables.row(key)
        if row is not None:
            _distrust(tables, row, request.reason, due=due_in_turn(n_dirty, request.per_s, now=now))
            n_dirty += 1
    counters.feed_floor = counters.sequence
    return n_dirty


def _distrust(tables: Tables, row: Row, reason: str, *, due: float) -> None:
    now = tables.journal.now
    row.state, row.token, row.until = State.DIRTY, None, 0.0
    row.reason, row.attempts, row.retry_at = reason, 0, None
    row.stale_since = now if row.stale_since is None else row.stale_since
    row.good_from = 0
    queue(row, due, now)
    tables.save(row)


def _all_keys(tables: Tables) -> Iterator[Key]:
    after = Key("")
    while keys := tables.keys(after, _CHUNK):
        yield from keys
        after = keys[-1]


def _quota(tables: Tables, function: str, limit: Limit, n_max: int) -> Quota:
    now, pace = tables.journal.now, tables.pace(function)
    is_counted = limit.n_at_once is not None or pace.is_broken
    n_leased = tables.n_leased(function, now) if is_counted else 0
    return quota_of(limit, pace, n_leased=n_leased, n_max=n_max, now=now)


def _note_starts(tables: Tables, request: TakeDue, taken: list[Due]) -> None:
    for name, limit in request.functions.items():
        if limit.per_s is not None:
            n_started = sum(due.recipe.function == name for due in taken)
            pace = pace_after_start(limit, tables.pace(name), n_started=n_started, now=tables.journal.now)
            tables.set_pace(name, pace)
