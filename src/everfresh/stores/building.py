"""The steps around a build: load, begin, commit, fail, give up, extend, take what is due, read the feed.

Rules
- A lease is an entry's token and its end by the store's clock. Who shows another token, or is late, changes nothing.
- A commit is outrun when one of its dependencies fired after its lease began, or when an entry that it read has another
  value by now: the value is stored, as it is newer than what was there, but the entry stays dirty and queued.
- A commit above something unsettled is suspect. An equal commit settles who was built from it, as far as that goes.
"""

from __future__ import annotations

from everfresh.matching.shapes import call_bucket
from everfresh.model.entry import Entry, Key, Kind, Lease, OnChange, State
from everfresh.model.position import Position
from everfresh.protocol.requests import (
    ABSENT,
    Begin,
    Busy,
    Commit,
    Committed,
    Due,
    Extend,
    Fail,
    FeedBatch,
    GiveUp,
    Load,
    Loaded,
    NotNeeded,
    Overtaken,
    ReadFeed,
    TakeDue,
    TookDue,
)
from everfresh.protocol.states import Step, next_state
from everfresh.protocol.unstored import unstored_entry
from everfresh.stores.changing import drop, is_outrun, learn, shake_outward, spread, store_value
from everfresh.stores.tables import Row, Tables, record


def load(tables: Tables, request: Load) -> Loaded:
    """Carry out `Load`."""
    row = tables.row(request.key)
    return _loaded(tables, row, request.fingerprint)


def begin(tables: Tables, request: Begin) -> Lease | NotNeeded | Busy:
    """Carry out `Begin`."""
    learn(tables, request.shapes)
    now = tables.journal.now
    row = tables.row(request.key)
    if row is None:
        row = Row(key=request.key, recipe=request.recipe)
    elif row.version and row.fingerprint == request.fingerprint and request.good_from is not None:
        # The same that a reader asks of what it loads; else the two would send each other round for ever.
        is_good = row.stale_since is None or row.good_from >= request.good_from
        if is_good and not row.has_expired(now):
            return NotNeeded()
    if row.is_leased(now):
        return Busy(now, row.until)
    row.recipe = request.recipe
    return _lease(tables, row, request.lease_s)


def commit(tables: Tables, request: Commit) -> Committed | Overtaken:
    """Carry out `Commit`."""
    counters, now, built = tables.counters, tables.journal.now, request.built
    row = _held(tables, request.lease)
    if row is None:
        return Overtaken(Position(counters.epoch, counters.sequence), now)
    learn(tables, (group.shape for group in built.groups))
    row.seen = built.seen
    step = _commit_step(tables, request, row)
    row.state = next_state(row.state, step)
    if row.state is State.DIRTY and request.on_change is OnChange.DROP:
        outcome = _unstored(tables, row, request)
        drop(tables, row)
        return outcome
    is_changed = row.version == 0 or row.digest != built.digest or row.fingerprint != request.fingerprint
    row.fingerprint, row.digest, row.on_change = request.fingerprint, built.digest, request.on_change
    row.good_from = min(row.begun, built.good_from)
    row.built_at, row.build_s = now, built.build_s
    row.attempts, row.retry_at, row.expires_at = 0, None, built.expires_at
    _end_lease(row)
    _after_commit(row, now, request)
    store_value(tables, row, built.value, built.groups, is_changed=is_changed)
    if tables.row(row.key) is row:
        _tell_outward(tables, row, is_changed=is_changed)
    if tables.row(row.key) is not row:
        # It looked at something that was built from it, so its own change has dropped it.
        return _unstored(tables, row, request)
    return Committed(_entry(tables, row), is_changed)


def fail(tables: Tables, request: Fail) -> Loaded:
    """Carry out `Fail`."""
    now = tables.journal.now
    row = _held(tables, request.lease)
    if row is None:
        return _loaded(tables, tables.row(request.lease.key), request.fingerprint)
    if row.version == 0:
        drop(tables, row)
        return _loaded(tables, None, None)
    if _is_unharmed(row, now):
        _keep(tables, row)
        return _loaded(tables, row, request.fingerprint)
    retry_s = request.retry_in_s
    if row.state is State.DIRTY:
        # An event came during this try: the source has changed, so the count begins anew, as it would after the try.
        row.attempts, retry_s = -1, 0.0
    row.state = next_state(row.state, Step.EXHAUST if retry_s is None else Step.FAIL)
    _end_lease(row)
    row.attempts += 1
    row.reason = request.reason
    row.stale_since = now if row.stale_since is None else row.stale_since
    row.retry_at = row.due = None if retry_s is None else now + retry_s
    record(tables, row, Kind.FAILED)
    tables.save(row)
    shake_outward(tables, [row.key])
    return _loaded(tables, row, request.fingerprint)


def give_up(tables: Tables, request: GiveUp) -> None:
    """Carry out `GiveUp`."""
    row = _held(tables, request.lease)
    if row is None:
        return
    if row.version == 0:
        drop(tables, row)
        return
    now = tables.journal.now
    if _is_unharmed(row, now):
        _keep(tables, row)
        return
    row.state = next_state(row.state, Step.GIVE_UP)
    _end_lease(row)
    row.stale_since = now if row.stale_since is None else row.stale_since
    row.due = now
    record(tables, row, Kind.STALE)
    tables.save(row)
    shake_outward(tables, [row.key])


def extend(tables: Tables, request: Extend) -> bool:
    """Carry out `Extend`."""
    n_held = 0
    for lease in request.leases:
        row = _held(tables, lease)
        if row is not None:
            row.until = row.due = tables.journal.now + request.lease_s
            tables.save(row)
            n_held += 1
    return n_held == len(request.leases)


def take_due(tables: Tables, request: TakeDue) -> TookDue:
    """Carry out `TakeDue`."""
    now = tables.journal.now
    rows, next_due = tables.due(now, request.functions, request.n_max)
    taken: list[Due] = []
    for row in rows:
        if tables.row(row.key) is not row:
            # It was built from one that this step has dropped, and went with it.
            continue
        if row.version == 0:
            # Its first builder died. Whoever asked for it builds it; nobody else knows that it is wanted.
            drop(tables, row)
        elif row.recipe is not None:
            taken.append(Due(_lease(tables, row, request.lease_s), row.recipe))
    return TookDue(tuple(taken), now, next_due)


def read_feed(tables: Tables, request: ReadFeed) -> FeedBatch:
    """Carry out `ReadFeed`."""
    counters = tables.counters
    end = Position(counters.epoch, counters.sequence)
    after = request.after
    if after is None:
        return FeedBatch((), end)
    is_known = after.epoch == counters.epoch and counters.feed_floor <= after.sequence <= counters.sequence
    if not is_known:
        return FeedBatch((), end, is_reset=True)
    records = tables.since(after.sequence, request.n_max)
    if records and len(records) == request.n_max:
        end = Position(counters.epoch, records[-1].sequence)
    return FeedBatch(tuple(records), end)


def _loaded(tables: Tables, row: Row | None, fingerprint: str | None) -> Loaded:
    counters, now = tables.counters, tables.journal.now
    position = Position(counters.epoch, counters.sequence)
    if row is None:
        return Loaded(entry=None, position=position, applied=counters.applied, now=now)
    has_ended = row.recipe is None and row.has_expired(now)
    is_there = row.version > 0 and not has_ended and fingerprint in (None, row.fingerprint)
    return Loaded(
        entry=_entry(tables, row) if is_there else None,
        position=position,
        applied=counters.applied,
        now=now,
        recipe=row.recipe,
        unsettled=_unsettled(tables, row) if row.state is State.SUSPECT else (),
        is_leased=row.is_leased(now),
    )


def _entry(tables: Tables, row: Row) -> Entry:
    epoch = tables.counters.epoch
    return Entry(
        key=row.key,
        function=row.function(),
        state=row.state,
        version=row.version,
        value=tables.value(row),
        digest=row.digest,
        position=Position(epoch, row.good_from),
        changed_at=Position(epoch, row.changed_at),
        built_at=row.built_at,
        build_s=row.build_s,
        stale_since=row.stale_since,
        reason=row.reason,
        attempts=row.attempts,
        retry_at=row.retry_at,
        expires_at=row.expires_at,
    )


def _unstored(tables: Tables, row: Row, request: Commit) -> Committed:
    """The outrun value of a function that drops on change."""
    entry = unstored_entry(
        request.lease,
        request.built,
        function=row.function(),
        position=Position(tables.counters.epoch, tables.counters.sequence),
        now=tables.journal.now,
        reason="an event came while it was built",
    )
    return Committed(entry, is_changed=False, is_stored=False)


def _lease(tables: Tables, row: Row, lease_s: float) -> Lease:
    counters, now = tables.counters, tables.journal.now
    # A lease that ran out while nobody ended it: its builder died, which counts as a failed try.
    if row.token is not None:
        row.attempts += 1
    counters.token += 1
    row.state = next_state(row.state, Step.BEGIN)
    row.token, row.begun = counters.token, counters.sequence
    row.until = row.due = now + lease_s
    tables.save(row)
    begun = Position(counters.epoch, row.begun)
    return Lease(key=row.key, token=row.token, begun=begun, until=row.until, attempts=row.attempts)


def _held(tables: Tables, lease: Lease) -> Row | None:
    """The row, if the lease still holds."""
    row = tables.row(lease.key)
    if row is None or row.token != lease.token or lease.begun.epoch != tables.counters.epoch:
        return None
    return row if row.is_leased(tables.journal.now) else None


def _end_lease(row: Row) -> None:
    row.token, row.until, row.due = None, 0.0, None


def _is_unharmed(row: Row, now: float) -> bool:
    """Whether a build without a value leaves the old one as good as it was: nothing is known against it."""
    return row.state is State.BUILDING and row.stale_since is None and not row.has_expired(now)


def _keep(tables: Tables, row: Row) -> None:
    row.state = next_state(row.state, Step.KEEP)
    _end_lease(row)
    row.due = row.expires_at
    record(tables, row, Kind.FRESH)
    tables.save(row)


def _commit_step(tables: Tables, request: Commit, row: Row) -> Step:
    if is_outrun(tables, request.built.groups, row.begun) or not _is_seen_current(tables, row):
        return Step.COMMIT_OUTRUN
    if request.retry_in_s is not None:
        return Step.COMMIT_OUTRUN
    return Step.COMMIT_SHAKEN if _unsettled(tables, row) else Step.COMMIT


def _after_commit(row: Row, now: float, request: Commit) -> None:
    """Set what follows from the state that the commit led to."""
    if row.state is State.FRESH:
        row.stale_since, row.reason = None, ""
        # What ends by time is refreshed by time, unless its function leaves that to the next reader.
        row.due = row.expires_at if row.on_change is OnChange.REFRESH else None
        return
    # The value is newer than what made the old one stale.
    row.stale_since = now
    if row.state is State.DIRTY and request.retry_in_s is not None:
        row.attempts = request.lease.attempts + 1
        row.due = row.retry_at = now + request.retry_in_s
        row.reason = "built without an entry whose build failed"
    elif row.state is State.DIRTY:
        row.due = now
        row.reason = row.reason or "an event came while it was built"
    else:
        row.reason = "built from an unsettled entry"


def _tell_outward(tables: Tables, row: Row, *, is_changed: bool) -> None:
    """Settle or shake who was built from the entry, as it came out of the commit."""
    if row.state is not State.FRESH:
        record(tables, row, Kind.STALE)
        shake_outward(tables, [row.key])
        return
    if not is_changed:
        record(tables, row, Kind.FRESH)
    _settle_outward(tables, row.key)


def _is_seen_current(tables: Tables, row: Row) -> bool:
    """Whether every entry that was read still has the value that was seen, or still is not there."""
    return all(_digest(tables, seen.key) == seen.digest for seen in row.seen)


def _digest(tables: Tables, key: Key) -> str:
    row = tables.row(key)
    return ABSENT if row is None or row.is_gone(tables.journal.now) else row.digest


def _unsettled(tables: Tables, row: Row) -> tuple[Key, ...]:
    """The entries below that are not known to be up to date."""
    return tuple(
        seen.key
        for seen in row.seen
        if (inner := tables.row(seen.key)) is not None and inner.version and inner.stale_since is not None
    )


def _settle_outward(tables: Tables, key: Key) -> None:
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
            if row.state is State.FAILED or seen != _digest(tables, inner):
                spread(tables, [outer], f"{inner} was refreshed", by_call=True)
            elif row.state is State.SUSPECT and not tables.any_stale([seen.key for seen in row.seen]):
                row.state, row.stale_since, row.reason = next_state(row.state, Step.SETTLE), None, ""
                record(tables, row, Kind.FRESH)
                tables.save(row)
                frontier.append(outer)
