"""The steps that change what is known of entries: apply, put, delete; and how a change spreads outward.

Rules
- A touched entry becomes dirty and is queued, or is dropped: when it has no recipe, or its function says so.
- Who was built from a dropped or changed entry is touched too; who was built from those, directly or not, is suspect.
- Every bucket that an event meets is marked as fired, with entries or without, so that a build under way learns of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from everfresh.matching.shapes import CALL_SHAPE, Bucket, Group, Shape, ShapeId, call_bucket
from everfresh.matching.triage import shapes_to_register
from everfresh.model.entry import Key, Kind, OnChange, State
from everfresh.model.position import Position
from everfresh.protocol.requests import Applied, Apply, Delete, Put, Register, Seen, ShapesMoved
from everfresh.protocol.states import Step, next_state
from everfresh.stores.tables import Row, Tables, record

# Expired values that a put clears away; more than one, so that they get fewer even while others are put.
_N_SWEPT = 2


def apply(tables: Tables, request: Apply) -> Applied | ShapesMoved:
    """Carry out `Apply`."""
    if request.generation < tables.n_known():
        return ShapesMoved(tables.known(request.generation))
    counters = tables.counters
    members = _members(tables, request.touched.buckets, request.touched.shapes)
    if request.is_dry:
        return Applied(Position(counters.epoch, counters.sequence), tuple(members), ())
    counters.sequence += 1
    counters.applied = counters.sequence
    tables.fire(request.touched.buckets, counters.sequence)
    tables.fire(request.touched.shapes, counters.sequence)
    touched, suspect = spread(tables, members, request.reason)
    return Applied(Position(counters.epoch, counters.sequence), touched, suspect)


def register(tables: Tables, request: Register) -> None:
    """Carry out `Register`."""
    learn(tables, request.shapes)


def put(tables: Tables, request: Put) -> bool:
    """Carry out `Put`."""
    learn(tables, (group.shape for group in request.groups))
    row = tables.row(request.key)
    seen = _seen_by_put(tables, request)
    if seen is None:
        if row is not None:
            drop(tables, row)
        return False
    now = tables.journal.now
    if row is None:
        row = Row(key=request.key, recipe=None)
    # Over anything that was not served, or is built, the same value is news too.
    is_same = row.recipe is None and row.digest == request.digest and not row.is_gone(now)
    row.recipe, row.state, row.on_change = None, State.FRESH, OnChange.DROP
    row.token = row.stale_since = row.retry_at = None
    row.fingerprint, row.digest, row.reason, row.attempts, row.seen = "", request.digest, "", 0, seen
    row.good_from, row.built_at, row.build_s = tables.counters.sequence, now, 0.0
    row.expires_at = row.due = None if request.expires_s is None else now + request.expires_s
    store_value(tables, row, request.value, request.groups, is_changed=not is_same)
    # Nobody else comes by to clear away what has expired.
    for expired in tables.due(now, frozenset({""}), _N_SWEPT)[0]:
        if tables.row(expired.key) is expired:
            drop(tables, expired)
    return True


def delete(tables: Tables, request: Delete) -> int:
    """Carry out `Delete`."""
    n_deleted = 0
    for key in request.keys:
        # Looked up one by one: to drop an entry may drop those built from it.
        row = tables.row(key)
        if row is not None:
            n_deleted += row.version > 0
            drop(tables, row)
    return n_deleted


def learn(tables: Tables, shapes: Iterable[Shape]) -> None:
    """Make the shapes known, dated by the last events: none of them can have been missed since."""
    for shape in shapes_to_register(shapes):
        if tables.born(shape.id) is None:
            tables.learn(shape, tables.counters.applied)


def is_outrun(tables: Tables, groups: Iterable[Group], begun: int) -> bool:
    """Whether one of the dependencies fired, or may have fired unseen, after the position."""
    if begun < tables.counters.fired_floor:
        return True
    for group in groups:
        shape = group.shape
        # A shape younger than the build: events before it was known left no mark.
        if (tables.born(shape.id) or 0) > begun:
            return True
        if tables.last_fired((shape.id, *group.buckets())) > begun:
            return True
    return False


def store_value(tables: Tables, row: Row, value: bytes, groups: tuple[Group, ...], *, is_changed: bool) -> None:
    """Write the row with its new links; a changed value gets a version, a record, and touches who was built from it."""
    if is_changed:
        # Above every version that a dropped entry of this key may have had.
        row.version = max(row.version, tables.counters.version_floor) + 1
    tables.relink(row, groups)
    if is_changed:
        row.changed_at = record(tables, row, Kind.CHANGED)
    tables.save(row)
    if is_changed:
        tables.set_value(row, value)
        spread(tables, tables.members(call_bucket(row.key)), f"{row.key} changed", by_call=True)


def spread(
    tables: Tables, keys: Iterable[Key], reason: str, *, by_call: bool = False
) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Touch the entries and shake who was built from them; the keys touched and the keys made suspect.

    With `by_call` the keys are those built from an entry that changed.
    """
    waiting = deque((key, by_call) for key in keys)
    touched: dict[Key, None] = {}
    dirty: list[Key] = []
    while waiting:
        key, is_by_call = waiting.popleft()
        row = None if key in touched else tables.row(key)
        if row is None:
            continue
        touched[key] = None
        if row.recipe is None or row.on_change is OnChange.DROP:
            _drop(tables, row)
            waiting.extend((outer, True) for outer in tables.members(call_bucket(key)))
        else:
            _make_dirty(tables, row, reason, is_by_call=is_by_call)
            dirty.append(key)
    suspect = shake_outward(tables, dirty)
    return tuple(touched), suspect


def _seen_by_put(tables: Tables, request: Put) -> tuple[Seen, ...] | None:
    """The entries that a put value was computed from, with their values; None when an event, or they, outran it."""
    fence = request.fence
    if fence is not None and is_outrun(tables, request.groups, fence):
        return None
    seen: list[Seen] = []
    for key in (values[0] for group in request.groups if group.shape == CALL_SHAPE for values in group.values):
        inner = tables.row(Key(key))
        if inner is None or inner.version == 0 or inner.stale_since is not None:
            return None
        if fence is not None and inner.changed_at > fence:
            return None
        seen.append(Seen(inner.key, inner.digest))
    return tuple(seen)


def _members(tables: Tables, buckets: Iterable[Bucket], shapes: Iterable[ShapeId]) -> dict[Key, None]:
    found: dict[Key, None] = {}
    for bucket in sorted(buckets):
        found.update(dict.fromkeys(tables.members(bucket)))
    for shape in sorted(shapes):
        found.update(dict.fromkeys(tables.members_of_shape(shape)))
    return found


def _make_dirty(tables: Tables, row: Row, reason: str, *, is_by_call: bool) -> None:
    # One that waits for its next try is due at once, which is news for workers.
    is_news = row.state is not State.DIRTY or row.retry_at is not None
    # A build under way may have caused, and seen, the change of an entry below it. Its commit compares what it saw with
    # what is there, so the change by itself does not outrun it.
    step = Step.SHAKE if is_by_call and row.is_leased(tables.journal.now) else Step.TOUCH
    row.state = next_state(row.state, step)
    row.reason, row.attempts, row.retry_at = reason, 0, None
    if row.stale_since is None:
        row.stale_since = tables.journal.now
    if row.token is None:
        # While a lease is held, `due` is its end; whoever ends it queues the entry again.
        row.due = tables.journal.now
    if is_news:
        record(tables, row, Kind.STALE)
    tables.save(row)


def shake_outward(tables: Tables, keys: Iterable[Key]) -> tuple[Key, ...]:
    """Mark as suspect whoever was built from these unsettled entries, directly or not; the keys that became so.

    Every step that may leave an entry unsettled ends with this. So one that is unsettled already has shaken its own.
    """
    frontier = list(keys)
    shaken: list[Key] = []
    while frontier:
        inner = frontier.pop()
        for outer in tables.members(call_bucket(inner)):
            row = tables.row(outer)
            if row is None or row.stale_since is not None:
                continue
            row.state = next_state(row.state, Step.SHAKE)
            row.stale_since, row.reason = tables.journal.now, f"{inner} is unsettled"
            record(tables, row, Kind.STALE)
            tables.save(row)
            shaken.append(outer)
            frontier.append(outer)
    return tuple(shaken)


def _drop(tables: Tables, row: Row) -> None:
    counters = tables.counters
    counters.version_floor = max(counters.version_floor, row.version)
    # An entry without a value had one before, maybe: its record must not go back behind that.
    row.version = row.version or counters.version_floor
    tables.relink(row, ())
    record(tables, row, Kind.DROPPED)
    tables.remove(row)


def drop(tables: Tables, row: Row) -> None:
    """Remove an entry; who was built from it is touched, as nobody watches over its dependencies any more."""
    _drop(tables, row)
    spread(tables, tables.members(call_bucket(row.key)), f"{row.key} was dropped", by_call=True)
