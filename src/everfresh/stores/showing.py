"""What a step answers about an entry, from its row."""

from __future__ import annotations

from everfresh.model.entry import Entry, Key, State
from everfresh.model.position import Position
from everfresh.protocol.requests import ABSENT, Commit, Committed, Loaded
from everfresh.protocol.unstored import unstored_entry
from everfresh.stores.tables import Row, Tables


def newest(tables: Tables) -> Position:
    """The newest position."""
    return Position(tables.counters.epoch, tables.counters.sequence)


def loaded(tables: Tables, row: Row | None, fingerprint: str | None) -> Loaded:
    """The answer to `Load`."""
    counters, now = tables.counters, tables.journal.now
    if row is None:
        return Loaded(entry=None, position=newest(tables), applied=counters.applied, now=now)
    has_ended = row.recipe is None and row.has_expired(now)
    is_there = row.version > 0 and not has_ended and fingerprint in (None, row.fingerprint)
    return Loaded(
        entry=entry_of(tables, row) if is_there else None,
        position=newest(tables),
        applied=counters.applied,
        now=now,
        recipe=row.recipe,
        unsettled=unsettled_below(tables, row) if row.state is State.SUSPECT else (),
        is_leased=row.is_leased(now),
    )


def entry_of(tables: Tables, row: Row) -> Entry:
    """The entry of a row that has a value."""
    epoch = tables.counters.epoch
    return Entry(
        key=row.key,
        function=row.function(),
        state=row.state_at(tables.journal.now),
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
        look_at=row.look_at(tables.journal.now),
        is_error=row.is_error,
    )


def unstored(tables: Tables, row: Row, request: Commit, reason: str) -> Committed:
    """The answer to a commit whose value was not stored: its builder alone may use it."""
    entry = unstored_entry(
        request.lease,
        request.built,
        function=row.function(),
        position=newest(tables),
        now=tables.journal.now,
        reason=reason,
    )
    return Committed(entry, is_changed=False, is_stored=False)


def unsettled_below(tables: Tables, row: Row) -> tuple[Key, ...]:
    """The entries that it was built from and that are not known to be up to date."""
    return tuple(
        seen.key
        for seen in row.seen
        if (inner := tables.row(seen.key)) is not None and inner.version and inner.stale_since is not None
    )


def digest_of(tables: Tables, key: Key) -> str:
    """The digest of an entry's value, or ABSENT."""
    row = tables.row(key)
    return ABSENT if row is None or row.is_gone(tables.journal.now) else row.digest
