"""The steps that only look: the feed, lists, counts, and what is known of one entry."""

from __future__ import annotations

from everfresh.matching.shapes import call_bucket
from everfresh.model.position import Position
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.inspecting import Count, Counted, Explain, Explained, Listed, ListEntries
from everfresh.protocol.requests import FeedBatch, ReadFeed
from everfresh.stores.showing import newest, unsettled_below
from everfresh.stores.tables import Row, Tables


def read_feed(tables: Tables, request: ReadFeed) -> FeedBatch:
    """Carry out `ReadFeed`."""
    counters, end = tables.counters, newest(tables)
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


def behind(_tables: Tables, _request: Behind) -> float:
    """Carry out `Behind`: a store that shares its tables with nobody, or is asked before each use, is exact."""
    return 0.0


def list_entries(tables: Tables, request: ListEntries) -> tuple[Listed, ...]:
    """Carry out `ListEntries`."""
    now = tables.journal.now
    return tuple(tables.listed(request.function, request.state, request.after, request.n_max, now))


def count(tables: Tables, request: Count) -> Counted:
    """Carry out `Count`."""
    return tables.counted(request.function, tables.journal.now)


def explain(tables: Tables, request: Explain) -> Explained | None:
    """Carry out `Explain`."""
    row = tables.row(request.key)
    if row is None:
        return None
    return Explained(
        listed=listed(row, tables.journal.now),
        groups=row.groups,
        seen=tuple(seen.key for seen in row.seen),
        unsettled=unsettled_below(tables, row),
        outer=tuple(tables.members(call_bucket(row.key))),
        history=row.history,
        builder=row.builder,
        terms=row.terms,
        is_leased=row.is_leased(tables.journal.now),
        expires_at=row.expires_at,
        watched_until=row.watched_until,
    )


def listed(row: Row, now: float) -> Listed:
    """The row as it is listed."""
    return Listed(
        key=row.key,
        function=row.function(),
        state=row.state_at(now),
        version=row.version,
        built_at=row.built_at,
        read_at=row.read_at,
        stale_since=row.stale_since,
        reason=row.reason,
        attempts=row.attempts,
        due=row.due,
        n_bytes=row.n_bytes,
    )
