"""The steps that change what is known of entries: apply, put, delete; and how a change spreads outward.

Rules
- A touched entry becomes dirty and is queued, or is dropped: when it has no recipe, or its function says so. It is due
  at once, or in its turn when only so many are to be built in a second; readers wait for neither.
- Who was built from a dropped or changed entry is touched too; who was built from those, directly or not, is suspect.
- Every bucket that an event meets is marked as fired, with entries or without, so that a build under way learns of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from everfresh.matching.index import Generation
from everfresh.matching.shapes import CALL_SHAPE, Group, Shape, ShapeKind, call_bucket
from everfresh.matching.triage import shapes_to_register
from everfresh.model.entry import PLAIN_TERMS, Key, Kind, OnChange, State
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, ShapesMoved
from everfresh.protocol.requests import Delete, Put, Register, Seen
from everfresh.protocol.scheduling import due_after_touch, due_in_turn, rank_of, urgency_of
from everfresh.protocol.states import Step, next_state
from everfresh.stores.evicting import make_room, take_out
from everfresh.stores.showing import newest
from everfresh.stores.tables import Row, Tables, record

# Expired values that a put clears away; more than one, so that they get fewer even while others are put.
N_SWEPT = 2
# Others may be due before them.
N_LOOKED_AT = 16
# How many of the last events each entry remembers, for people.
N_REMEMBERED = 5
_NONE: frozenset[int] = frozenset()


class Why(msgspec.Struct, frozen=True):
    """Why an entry is touched: in words, by which event, and through which chain of builds.

    Entries that keep it keep the `event` as `encode` writes it. With `is_by_call` an entry that it was built from
    changed.
    """

    text: str
    cause: tuple[str, ...] = ()
    event: Event | None = None
    encode: Callable[[Event], bytes | None] | None = None
    is_by_call: bool = False

    def encoded(self) -> bytes | None:
        """The event as it is kept; None when there is none, or nobody said how."""
        return None if self.event is None or self.encode is None else self.encode(self.event)


def apply(tables: Tables, request: Apply) -> Applied | ShapesMoved:
    """Carry out `Apply`."""
    epoch, n_shapes = request.generation
    if epoch != tables.counters.epoch:
        return ShapesMoved(Generation(tables.counters.epoch, 0), tables.known(0))
    if n_shapes < tables.n_known():
        return ShapesMoved(request.generation, tables.known(n_shapes))
    members = _members(tables, request)
    if request.is_dry:
        return Applied(newest(tables), tuple(members), ())
    outrun = _outrun(tables, request.puts) if request.puts else _NONE
    counters = tables.counters
    counters.sequence += 1
    counters.applied = counters.sequence
    touched = request.touched
    for marks in (touched.buckets, touched.shapes, touched.predicates):
        if marks:
            tables.fire(marks, counters.sequence)
    for probe in touched.probes:
        tables.keep_probe(probe, counters.sequence)
    cause, encode = request.cause, request.encode
    whys = [Why(mention.text, cause, mention.event, encode) for mention in request.mentions]
    keys, suspect = spread(tables, {key: whys[event] for key, event in members.items()}, per_s=request.per_s)
    for offset in request.offsets:
        tables.set_offset(offset.source, offset.text)
    return Applied(newest(tables), keys, suspect, outrun)


def _outrun(tables: Tables, puts: Sequence[Put]) -> frozenset[int]:
    return frozenset(number for number, put in enumerate(puts) if _is_refused(tables, put))


def candidates(tables: Tables, request: Candidates) -> tuple[Candidate, ...]:
    """Carry out `Candidates`."""
    found: list[Candidate] = []
    for bucket in request.buckets:
        for key in tables.members(bucket):
            row = tables.row(key)
            if row is not None and row.recipe is not None:
                found.append(Candidate(bucket, key, row.recipe))
    return tuple(found)


def register(tables: Tables, request: Register) -> None:
    """Carry out `Register`."""
    learn(tables, request.shapes)


def put(tables: Tables, request: Put) -> bool:
    """Carry out `Put`."""
    learn(tables, (group.shape for group in request.groups))
    row = tables.row(request.key)
    seen = _seen_by_put(tables, request)
    if seen is None:
        # One that was put after the miss stands by its own dependencies.
        if row is not None and not _is_newer(row, request.fence, tables.counters.epoch):
            drop(tables, row)
        return False
    now = tables.journal.now
    if row is None:
        row = Row(key=request.key, recipe=None)
        tables.counters.n_entries += 1
    # Over anything that was not served, or is built, the same value is news too.
    is_same = row.recipe is None and row.digest == request.digest and not row.is_gone(now)
    row.recipe, row.state, row.terms = None, State.FRESH, PLAIN_TERMS
    row.token = row.stale_since = row.retry_at = row.queued_at = row.event_at = row.event = None
    row.fingerprint, row.digest, row.reason, row.attempts, row.seen = "", request.digest, "", 0, seen
    row.good_from, row.built_at, row.build_s = tables.counters.sequence, now, 0.0
    row.builder, row.is_error, row.read_at, row.history = "", False, max(now, row.read_at), ()
    row.expires_at = None if request.expires_s is None else now + request.expires_s
    queue(row, row.expires_at, now)
    store_value(tables, row, request.value, request.groups, is_changed=not is_same)
    sweep(tables, row)
    make_room(tables, row)
    return True


def delete(tables: Tables, request: Delete) -> int:
    """Carry out `Delete`."""
    n_deleted, counters = 0, tables.counters
    if request.outruns and request.keys:
        counters.sequence += 1
        tables.fire([call_bucket(key) for key in request.keys], counters.sequence)
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


def is_outrun(tables: Tables, groups: Iterable[Group], begun: int, linked: Sequence[Group] = ()) -> bool:
    """Whether one of the dependencies fired, or may have fired unseen, after the position.

    Events that a predicate looked at have touched those that stood in its bucket, as the `linked` groups say; only to
    those that did not are its marks news.
    """
    if begun < tables.counters.fired_floor:
        return True
    for group in groups:
        shape = group.shape
        if shape.kind is ShapeKind.PREDICATE and group in linked:
            continue
        # A shape younger than the build: events before it was known left no mark.
        if (tables.born(shape.id) or 0) > begun:
            return True
        if tables.last_fired((shape.id, *group.buckets())) > begun:
            return True
        for _, stem, operands in group.filtered():
            if any(probe.touches(operands) for probe in tables.probes(stem, begun)):
                return True
    return False


def queue(row: Row, due: float | None, now: float) -> None:
    """Have the queue look at the row at `due`, or not at all; the row is not saved."""
    row.due = due
    if due is not None:
        row.rank = rank_of(row.terms, due=due, now=now, read_at=row.read_at, watched_until=row.watched_until)


def sweep(tables: Tables, written: Row) -> None:
    """Drop a few of the same kind whose time has come, at each that is written: it may be that no worker ever does."""
    now = tables.journal.now
    if written.time_to_go() is None:
        return
    gone = [row for row in tables.due(now, {written.function(): N_LOOKED_AT}, N_LOOKED_AT)[0] if has_gone(row, now)]
    for row in gone[:N_SWEPT]:
        if tables.row(row.key) is row:
            drop(tables, row)


def has_gone(row: Row, now: float) -> bool:
    """Whether its time to be dropped has come. While somebody builds it, nobody is given it to drop."""
    if row.version == 0 and not row.is_wanted:
        # Its first builder died. Whoever asked for it builds it; nobody else knows that it is wanted.
        return not row.is_leased(now)
    end = row.time_to_go()
    return end is not None and end <= now


def store_value(
    tables: Tables,
    row: Row,
    value: bytes,
    groups: tuple[Group, ...],
    *,
    is_changed: bool,
    cause: tuple[str, ...] = (),
) -> None:
    """Write the row with its new links; a changed value gets a version, a record, and touches who was built from it."""
    if is_changed:
        # Above every version that a dropped entry of this key may have had.
        row.version = max(row.version, tables.counters.version_floor) + 1
    tables.relink(row, groups)
    if is_changed:
        row.changed_at = record(tables, row, Kind.CHANGED)
        tables.counters.n_bytes += len(value) - row.n_bytes
        row.n_bytes = len(value)
    tables.save(row)
    if is_changed:
        tables.set_value(row, value)
        touch_outer(tables, row, f"{row.key} changed", cause)


def touch_outer(tables: Tables, row: Row, text: str, cause: tuple[str, ...]) -> None:
    """Touch who was built from the entry."""
    why = Why(text, cause=cause, is_by_call=True)
    spread(tables, dict.fromkeys(tables.members(call_bucket(row.key)), why))


def spread(
    tables: Tables, whys: Mapping[Key, Why], *, per_s: float | None = None
) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Touch the entries and shake who was built from them; the keys touched and the keys made suspect.

    With `per_s` they fall due one after the other, so many a second, the most urgent first.
    """
    # It grows while it is gone through.
    waiting = list(whys.items())
    touched: dict[Key, None] = {}
    dirty: list[Key] = []
    in_turn: list[tuple[Row, float]] = []
    for key, why in waiting:
        row = None if key in touched else tables.row(key)
        if row is None:
            continue
        touched[key] = None
        if row.recipe is None or row.terms.on_change is OnChange.DROP:
            take_out(tables, row)
            outer_why = Why(f"{key} was dropped", cause=why.cause, is_by_call=True)
            waiting.extend((outer, outer_why) for outer in tables.members(call_bucket(key)))
        else:
            due = _make_dirty(tables, row, why)
            dirty.append(key)
            if due is not None and per_s is not None:
                in_turn.append((row, due))
            elif due is not None:
                queue(row, due, tables.journal.now)
            tables.save(row)
    if per_s is not None:
        _queue_in_turn(tables, in_turn, per_s)
    suspect = shake_outward(tables, dirty)
    return tuple(touched), suspect


def _is_newer(row: Row, fence: Position | None, epoch: str) -> bool:
    return row.recipe is None and fence is not None and fence.epoch == epoch and row.good_from > fence.sequence


def _is_refused(tables: Tables, request: Put) -> bool:
    """Whether a put to come would be refused now. To a shape that is not known yet no event can have left a mark."""
    shapes = shapes_to_register(group.shape for group in request.groups)
    return any(tables.born(shape.id) is None for shape in shapes) or _seen_by_put(tables, request) is None


def _seen_by_put(tables: Tables, request: Put) -> tuple[Seen, ...] | None:
    """The entries that a put value was computed from, with their values; None when an event, or they, outran it."""
    fence = request.fence
    if fence is not None and fence.epoch != tables.counters.epoch:
        return None
    if fence is not None and is_outrun(tables, request.groups, fence.sequence):
        return None
    # Whoever deleted the key since then knew of something newer.
    if fence is not None and tables.last_fired((call_bucket(request.key),)) > fence.sequence:
        return None
    seen: list[Seen] = []
    for key in (values[0] for group in request.groups if group.shape == CALL_SHAPE for values in group.values):
        inner = tables.row(Key(key))
        if inner is None or inner.version == 0 or inner.stale_since is not None:
            return None
        if fence is not None and inner.changed_at > fence.sequence:
            return None
        seen.append(Seen(inner.key, inner.digest))
    return tuple(seen)


def _members(tables: Tables, request: Apply) -> dict[Key, int]:
    """The entries that the events touch, each with the number of the last event that does."""
    touched = request.touched
    found: dict[Key, int] = {}
    for bucket, event in touched.buckets.items():
        _found(found, tables.members(bucket), event)
    for shape, event in touched.shapes.items():
        _found(found, tables.members_of_shape(shape), event)
    for probe in touched.probes:
        for bucket, operands in tables.conditions(probe.stem):
            if probe.touches(operands):
                _found(found, tables.members(bucket), probe.event)
    for bucket, events in touched.predicates.items():
        spared = request.spared.get(bucket, frozenset())
        _found(found, [key for key in tables.members(bucket) if key not in spared], events[-1])
    return found


def _found(found: dict[Key, int], keys: Sequence[Key], event: int) -> None:
    for key in keys:
        if event >= found.get(key, 0):
            found[key] = event


def _make_dirty(tables: Tables, row: Row, why: Why) -> float | None:
    """When the queue is to look at it, None when that stays as it is; the row is not saved."""
    now = tables.journal.now
    # One that waits for its next try is due at once, which is news for workers.
    is_news = row.state is not State.DIRTY or row.retry_at is not None
    # The job that failed is over.
    is_under_way = row.retry_at is None and row.state is not State.FAILED
    queued_at = row.queued_at if is_under_way and row.queued_at is not None else now
    # A build under way may have caused, and seen, the change of an entry below it. Its commit compares what it saw with
    # what is there, so the change by itself does not outrun it.
    step = Step.SHAKE if why.is_by_call and row.is_leased(now) else Step.TOUCH
    row.state = next_state(row.state, step)
    row.reason, row.attempts, row.retry_at, row.cause = why.text, 0, None, why.cause
    row.n_died = 0
    row.stale_since = now if row.stale_since is None else row.stale_since
    row.queued_at = queued_at
    if not why.is_by_call:
        row.event_at = now if row.terms.settle_s else None
        row.event = why.encoded() if row.terms.keeps_event else None
        row.history = (*row.history, why.text)[-N_REMEMBERED:]
    # Of an entry without a value nobody was told yet.
    if is_news and row.version:
        record(tables, row, Kind.STALE)
    # While a lease is held, `due` is its end; whoever ends it queues the entry again. What is due already stays so.
    if row.token is None and (row.due is None or row.due > now):
        return due_after_touch(row.terms, now=now, queued_at=queued_at)
    return None


def _queue_in_turn(tables: Tables, rows: list[tuple[Row, float]], per_s: float) -> None:
    """Queue touched rows one after the other; none before its debounce is over, or later than it was due before."""
    now = tables.journal.now

    def urgency(item: tuple[Row, float]) -> tuple[int, float, Key]:
        row = item[0]
        return (*urgency_of(row.terms, read_at=row.read_at, watched_until=row.watched_until), row.key)

    for place, (row, due) in enumerate(sorted(rows, key=urgency)):
        turn = due_in_turn(place, per_s, now=now)
        queue(row, max(due, turn if row.due is None else min(turn, row.due)), now)
        tables.save(row)


def shake_outward(tables: Tables, keys: Iterable[Key]) -> tuple[Key, ...]:
    """Mark as suspect whoever was built from these unsettled entries, directly or not; the keys that became so.

    Every step that may leave an entry unsettled ends with this. So one that is unsettled already has shaken its own.
    """
    frontier = list(keys)
    shaken: list[Key] = []
    while frontier:
        inner = frontier.pop()
        below = tables.row(inner)
        if below is None or below.version == 0:
            # Whoever found no value here hears of the first one.
            continue
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


def drop(tables: Tables, row: Row) -> None:
    """Remove an entry; who was built from it is touched, as nobody watches over its dependencies any more."""
    take_out(tables, row)
    touch_outer(tables, row, f"{row.key} was dropped", row.cause)
