"""The steps around a build: load, begin, commit, fail, give up, extend.

Rules
- A lease is an entry's token and its end by the store's clock. Who shows another token, or is late, changes nothing.
- A commit is outrun when one of its dependencies fired after its lease began, or when an entry that it read has another
  value by now: the value is stored, as it is newer than what was there, but the entry stays dirty and queued.
- A commit above something unsettled is suspect. An equal commit settles who was built from it, as far as that goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from everfresh.matching.shapes import call_bucket
from everfresh.model.entry import Key, Kind, Lease, OnChange, State
from everfresh.model.position import Position
from everfresh.protocol.requests import (
    ABSENT,
    Begin,
    Busy,
    Commit,
    Committed,
    Extend,
    Fail,
    GiveUp,
    Load,
    Loaded,
    LoadMany,
    NotNeeded,
    Overtaken,
)
from everfresh.protocol.scheduling import (
    due_after_touch,
    next_look,
    pace_after_failure,
    pace_after_success,
    shows_event,
    was_look,
)
from everfresh.protocol.states import Step, next_state
from everfresh.stores.changing import (
    Why,
    drop,
    is_outrun,
    learn,
    queue,
    shake_outward,
    spread,
    store_value,
    sweep,
)
from everfresh.stores.evicting import make_room
from everfresh.stores.showing import digest_of, entry_of, loaded, newest, unsettled_below, unstored
from everfresh.stores.tables import NO_ROOM_LIMIT, Row, Tables, record

_OUTRUN = "an event came while it was built"
_PRIVATE = "it hangs on a list that nobody described"
_NOT_KEPT = "its own change dropped it, or the store has no room for it and what it was built from"


def load(tables: Tables, request: Load) -> Loaded:
    """Carry out `Load`."""
    return loaded(tables, tables.row(request.key), request.fingerprint)


def load_many(tables: Tables, request: LoadMany) -> tuple[Loaded, ...]:
    """Carry out `LoadMany`."""
    return tuple(loaded(tables, tables.row(key), request.fingerprint) for key in request.keys)


def begin(tables: Tables, request: Begin) -> Lease | NotNeeded | Busy:
    """Carry out `Begin`."""
    learn(tables, request.shapes)
    now = tables.journal.now
    row = tables.row(request.key)
    if row is None:
        # An event during the first build does not end it: what comes out is dropped, if the function wants that.
        terms = msgspec.structs.replace(request.terms, on_change=OnChange.REFRESH)
        row = Row(key=request.key, recipe=request.recipe, read_at=now, terms=terms)
        tables.counters.n_entries += 1
    elif row.version and row.fingerprint == request.fingerprint and request.good_from is not None:
        # The same that a reader asks of what it loads; else the two would send each other round for ever.
        is_good = row.stale_since is None or row.good_from >= request.good_from
        if is_good and not row.has_expired(now):
            return NotNeeded()
    if row.is_leased(now):
        return Busy(now, row.until)
    row.recipe = request.recipe
    if any(group not in row.groups for group in request.watched):
        tables.relink(row, tuple(dict.fromkeys((*row.groups, *request.watched))))
    return take_lease(tables, row, request.lease_s)


def commit(tables: Tables, request: Commit) -> Committed | Overtaken:
    """Carry out `Commit`."""
    now, built = tables.journal.now, request.built
    row = _held(tables, request.lease)
    if row is None:
        return Overtaken(newest(tables), now)
    pace = tables.pace(row.function())
    tables.set_pace(row.function(), pace_after_success(pace))
    learn(tables, (group.shape for group in built.groups))
    row.seen = built.seen
    row.state = next_state(row.state, _commit_step(tables, request, row))
    if (reason := _why_unstored(tables, row, request)) is not None:
        outcome = unstored(tables, row, request, reason)
        drop(tables, row)
        return replace(outcome, is_recovery=pace.is_broken)
    is_changed = row.version == 0 or row.digest != built.digest or row.fingerprint != request.fingerprint
    _take_over(tables, row, request)
    _after_commit(tables, row, request, is_changed=is_changed)
    cause = request.lease.cause
    store_value(tables, row, built.value, built.groups, is_changed=is_changed, cause=cause)
    if tables.row(row.key) is row:
        _tell_outward(tables, row, cause, is_changed=is_changed)
    sweep(tables, row)
    make_room(tables, row)
    if tables.row(row.key) is not row:
        # It looked at something that was built from it, so its own change has dropped it; or it found no room.
        return replace(unstored(tables, row, request, _NOT_KEPT), is_recovery=pace.is_broken)
    return Committed(entry_of(tables, row), is_changed, is_recovery=pace.is_broken)


def fail(tables: Tables, request: Fail) -> Loaded:
    """Carry out `Fail`."""
    now = tables.journal.now
    row = _held(tables, request.lease)
    if row is None:
        return loaded(tables, tables.row(request.lease.key), request.fingerprint)
    paused_s = None if request.is_shared else _note_failure(tables, row, request.roll)
    broken = None if paused_s is None else (row.function(), paused_s)
    if row.version == 0 and not row.is_wanted:
        drop(tables, row)
        return msgspec.structs.replace(loaded(tables, None, None), broken=broken)
    if _is_unharmed(row, now):
        _keep(tables, row, request.lease, again_s=request.retry_in_s)
    else:
        _fail(tables, row, request)
    return msgspec.structs.replace(loaded(tables, row, request.fingerprint), broken=broken)


def _note_failure(tables: Tables, row: Row, roll: float) -> float | None:
    """Note that a build of the function failed; for how long this pauses its refreshes, None when it does not."""
    now, before = tables.journal.now, tables.pace(row.function())
    after = pace_after_failure(before, row.key, now=now, roll=roll)
    tables.set_pace(row.function(), after)
    return after.paused_until - now if after.paused_until > max(now, before.paused_until) else None


def _fail(tables: Tables, row: Row, request: Fail) -> None:
    now, pace, retry_s = tables.journal.now, tables.pace(row.function()), request.retry_in_s
    if row.retry_at is not None and request.lease.begun_at < row.retry_at:
        # A reader tried out of turn. The next try comes when it was to come, and is not the last one for that.
        row.attempts, retry_s = row.attempts - 1, max(row.retry_at - now, 0.0)
    elif row.state is State.DIRTY:
        # An event came during this try: the source has changed, so the count begins anew, as it would after the try.
        row.attempts, retry_s = -1, 0.0
    elif pace.is_broken or request.is_shared:
        # Its upstream is down for all, or another entry is the matter. To count this try would only give it up sooner.
        row.attempts -= 1
    if pace.is_broken:
        retry_s = max(pace.paused_until - now, retry_s or 0.0)
    row.state = next_state(row.state, Step.EXHAUST if retry_s is None else Step.FAIL)
    _end_lease(row)
    row.attempts += 1
    row.reason = request.reason
    row.stale_since = now if row.stale_since is None else row.stale_since
    row.retry_at = None if retry_s is None else now + retry_s
    row.queued_at = None if retry_s is None else row.queued_at or now
    queue(row, row.time_to_go() if retry_s is None else row.retry_at, now)
    record(tables, row, Kind.FAILED)
    tables.save(row)
    shake_outward(tables, [row.key])


def give_up(tables: Tables, request: GiveUp) -> None:
    """Carry out `GiveUp`."""
    row = _held(tables, request.lease)
    if row is None:
        return
    if row.version == 0 and not row.is_wanted:
        drop(tables, row)
        return
    now = tables.journal.now
    if _is_unharmed(row, now):
        _keep(tables, row, request.lease, again_s=0.0)
        return
    row.state = next_state(row.state, Step.GIVE_UP)
    _end_lease(row)
    row.stale_since = now if row.stale_since is None else row.stale_since
    row.queued_at = now if row.queued_at is None else row.queued_at
    queue(row, now, now)
    record(tables, row, Kind.STALE)
    tables.save(row)
    shake_outward(tables, [row.key])


def extend(tables: Tables, request: Extend) -> bool:
    """Carry out `Extend`."""
    now = tables.journal.now
    n_held = 0
    for lease in request.leases:
        row = _held(tables, lease)
        if row is not None:
            row.until = now + request.lease_s
            queue(row, row.until, now)
            tables.save(row)
            n_held += 1
    return n_held == len(request.leases)


def take_lease(tables: Tables, row: Row, lease_s: float) -> Lease:
    """Give the row to a new builder; nobody holds it."""
    counters, now = tables.counters, tables.journal.now
    # A lease that ran out while nobody ended it: its builder died, which counts as a failed try.
    if row.token is not None:
        row.attempts += 1
        row.n_died += 1
    counters.token += 1
    row.state = next_state(row.state, Step.BEGIN)
    row.token, row.begun = counters.token, counters.sequence
    # What comes from now on is a job of its own.
    cause, row.cause, row.queued_at = row.cause, (), None
    row.until = now + lease_s
    queue(row, row.until, now)
    tables.save(row)
    return Lease(
        key=row.key,
        token=row.token,
        begun=Position(counters.epoch, row.begun),
        until=row.until,
        begun_at=now,
        attempts=row.attempts,
        n_died=row.n_died,
        event=row.event,
        cause=cause,
    )


def _held(tables: Tables, lease: Lease) -> Row | None:
    """The row, if the lease still holds."""
    row = tables.row(lease.key)
    if row is None or row.token != lease.token or lease.begun.epoch != tables.counters.epoch:
        return None
    return row if row.is_leased(tables.journal.now) else None


def _end_lease(row: Row) -> None:
    row.token, row.until, row.due, row.n_died = None, 0.0, None, 0


def _why_unstored(tables: Tables, row: Row, request: Commit) -> str | None:
    """Why only its builder may have the value; None when it is stored."""
    if request.built.is_private:
        return _PRIVATE
    if row.state is not State.DIRTY:
        return None
    if request.terms.on_change is OnChange.DROP:
        return _OUTRUN
    # To queue it would build what it was built from, which drives something out again, and so on without an end.
    is_below_gone = any(seen.digest != ABSENT and digest_of(tables, seen.key) == ABSENT for seen in row.seen)
    return _NOT_KEPT if tables.room != NO_ROOM_LIMIT and is_below_gone else None


def _is_unharmed(row: Row, now: float) -> bool:
    """Whether a build without a value leaves the old one as good as it was: nothing is known against it."""
    return row.state is State.BUILDING and row.stale_since is None and not row.has_expired(now)


def _keep(tables: Tables, row: Row, lease: Lease, *, again_s: float | None) -> None:
    """Leave the value as it was. A build that was to look for a late change has not looked: another is to."""
    now, look = tables.journal.now, None
    looked_at = row.built_at - row.build_s
    if again_s is not None and was_look(row.terms, event_at=row.event_at, looked_at=looked_at, begun_at=lease.begun_at):
        look = now + again_s
        row.attempts += again_s > 0
    row.state = next_state(row.state, Step.KEEP)
    _end_lease(row)
    _queue_settled(row, now, lease, look=look)
    record(tables, row, Kind.FRESH)
    tables.save(row)


def _commit_step(tables: Tables, request: Commit, row: Row) -> Step:
    if is_outrun(tables, request.built.groups, row.begun, row.groups) or not _is_seen_current(tables, row):
        return Step.COMMIT_OUTRUN
    if request.retry_in_s is not None:
        return Step.COMMIT_OUTRUN
    return Step.COMMIT_SHAKEN if unsettled_below(tables, row) else Step.COMMIT


def _take_over(tables: Tables, row: Row, request: Commit) -> None:
    """Write what was built into the row."""
    now, built, terms = tables.journal.now, request.built, request.terms
    row.fingerprint, row.digest, row.terms = request.fingerprint, built.digest, terms
    row.is_error, row.builder = built.is_error, request.builder
    row.good_from = min(row.begun, built.good_from)
    row.built_at, row.build_s = now, built.build_s
    own_end = None if terms.expires_s is None else now + terms.expires_s
    row.attempts, row.retry_at = 0, None
    row.expires_at = min((end for end in (built.expires_at, own_end) if end is not None), default=None)
    _end_lease(row)


def _after_commit(tables: Tables, row: Row, request: Commit, *, is_changed: bool) -> None:
    """Set what follows from the state that the commit led to."""
    now = tables.journal.now
    if row.state is State.DIRTY:
        # What made the old value stale before this build began, this one has seen; what came since, it may have missed.
        since = max(row.stale_since or 0.0, request.lease.begun_at)
        row.stale_since = min((now, since, *_stale_below(tables, row)))
        _queue_again(row, now, request)
        return
    if row.event_at is not None and shows_event(is_changed=is_changed, is_awaited=request.built.is_awaited):
        row.event_at = row.event = None
    _queue_settled(row, now, request.lease)
    if row.state is State.FRESH:
        row.stale_since, row.reason = None, ""
    else:
        row.stale_since = min((now, request.lease.begun_at, *_stale_below(tables, row)))
        row.reason = "built from an unsettled entry"


def _stale_below(tables: Tables, row: Row) -> Iterator[float]:
    """Since when what it was built from is out of date."""
    for key in unsettled_below(tables, row):
        inner = tables.row(key)
        if inner is not None and inner.stale_since is not None:
            yield inner.stale_since


def _queue_again(row: Row, now: float, request: Commit) -> None:
    if request.retry_in_s is not None:
        row.attempts = request.lease.attempts + 1
        row.retry_at = now + request.retry_in_s
        row.reason = "built without an entry whose build failed"
        queue(row, row.retry_at, now)
        return
    row.reason = row.reason or _OUTRUN
    row.queued_at = now if row.queued_at is None else row.queued_at
    if row.terms.settle_s and row.event_at is None:
        # The event came before the entry was known to hang on it. This build has not shown it, nor may the next.
        row.event_at = now
    queue(row, due_after_touch(row.terms, now=now, queued_at=row.queued_at), now)


def _queue_settled(row: Row, now: float, lease: Lease, *, look: float | None = None) -> None:
    """Queue an entry that is settled, for what may come by time alone: its end, or a look for a late change.

    A build that began before it was time to look, however late it ended, has not looked.
    """
    row.queued_at = None
    if row.event_at is None:
        row.event = None
    elif look is None:
        look = next_look(row.terms, event_at=row.event_at, now=lease.begun_at)
        if look is None:
            row.event_at = row.event = None
    # What ends by time is refreshed by time, or dropped when its function leaves the building to the next reader.
    end = row.expires_at if row.terms.on_change is OnChange.REFRESH else row.time_to_go()
    queue(row, min((due for due in (look, end) if due is not None), default=None), now)


def _tell_outward(tables: Tables, row: Row, cause: tuple[str, ...], *, is_changed: bool) -> None:
    """Settle or shake who was built from the entry, as it came out of the commit."""
    if row.state is not State.FRESH:
        record(tables, row, Kind.STALE)
        shake_outward(tables, [row.key])
        return
    if not is_changed:
        record(tables, row, Kind.FRESH)
    _settle_outward(tables, row.key, cause)


def _is_seen_current(tables: Tables, row: Row) -> bool:
    """Whether every entry that was read still has the value that was seen, or still is not there."""
    return all(digest_of(tables, seen.key) == seen.digest for seen in row.seen)


def _settle_outward(tables: Tables, key: Key, cause: tuple[str, ...]) -> None:
    frontier = [key]
    while frontier:
        inner = frontier.pop()
        for outer in tables.members(call_bucket(inner)):
            row = tables.row(outer)
            if row is None or row.state is State.DIRTY or row.is_leased(tables.journal.now):
                continue
            # What broke it may be well again, though its value is the same; or it did without what is there now. Only
            # the inner entry that changed is looked at: what the others changed has touched this one already.
            seen = next((seen.digest for seen in row.seen if seen.key == inner), None)
            if row.state is State.FAILED or seen != digest_of(tables, inner):
                spread(tables, {outer: Why(f"{inner} was refreshed", cause=cause, is_by_call=True)})
            elif row.state is State.SUSPECT and not tables.any_stale([seen.key for seen in row.seen]):
                row.state, row.stale_since, row.reason = next_state(row.state, Step.SETTLE), None, ""
                record(tables, row, Kind.FRESH)
                tables.save(row)
                frontier.append(outer)
