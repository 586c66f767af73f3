"""What goes when a store may hold no more: the entries that were read longest ago, with what was built from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from everfresh.matching.shapes import call_bucket
from everfresh.model.entry import Key, Kind
from everfresh.stores.tables import Room, Row, Tables, record

# How many of the coldest entries are looked at to find one that nothing was built from.
N_COLDEST = 16
# How many that were read lately are spared in a step; if all were, one of them has to go.
MAX_SPARED = 32
# How many of those that were built from an entry are asked about.
N_OUTER = 64
# A step that clears more than this would hold up all others; what is left goes with the next ones.
MAX_EVICTED = 64


def make_room(tables: Tables, kept: Row) -> None:
    """Drop entries while there are more than the store may hold: the longest unread, if nothing was built from them.

    What was built from one that has to go goes with it: nobody watches over its dependencies any more, and to build it
    anew would bring back what there is no room for. What was just written is kept, unless it needs all that is there.
    """
    room = tables.room
    if tables.row(kept.key) is not kept:
        return
    if room.max_bytes is not None and kept.n_bytes > room.max_bytes:
        _evict(tables, _built_from(tables, kept))
        return
    n_spared = 0
    for _ in range(MAX_EVICTED + MAX_SPARED):
        if not _is_full(tables, room):
            return
        now = tables.journal.now
        coldest = [row for row in tables.coldest(N_COLDEST) if row.key != kept.key and not row.is_leased(now)]
        if not coldest:
            return
        row, tree = _next_to_go(tables, coldest, kept)
        if n_spared < MAX_SPARED and row is not kept and _is_warmed(tables, row, tree):
            n_spared += 1
            continue
        _evict(tables, tree)
        if row is kept:
            return


def _is_full(tables: Tables, room: Room) -> bool:
    counters = tables.counters
    is_over = room.max_entries is not None and counters.n_entries > room.max_entries
    return is_over or (room.max_bytes is not None and counters.n_bytes > room.max_bytes)


def _next_to_go(tables: Tables, coldest: Sequence[Row], kept: Row) -> tuple[Row, Collection[Key]]:
    """The entry to drop with what was built from it: the coldest without such, else the coldest that spares `kept`."""
    for row in coldest:
        if not tables.members(call_bucket(row.key)):
            return row, (row.key,)
    for row in coldest:
        tree = _built_from(tables, row)
        if kept.key not in tree:
            return row, tree
    return kept, _built_from(tables, kept)


def _is_warmed(tables: Tables, row: Row, tree: Iterable[Key]) -> bool:
    """Whether the entry, or one that was built from it, was read since the store was told: it is as warm as that."""
    read_at = row.read_at
    for key in islice(tree, N_OUTER):
        found = tables.row(key)
        if found is not None:
            read_at = max(read_at, found.read_at, tables.last_read(key) or 0.0)
    if read_at <= row.read_at:
        return False
    row.read_at = read_at
    tables.save(row)
    return True


def _evict(tables: Tables, keys: Iterable[Key]) -> None:
    for key in keys:
        found = tables.row(key)
        if found is not None:
            take_out(tables, found)


def _built_from(tables: Tables, row: Row) -> dict[Key, None]:
    """The entry and those that were built from it, directly or not."""
    found = {row.key: None}
    waiting = [row.key]
    while waiting:
        new = [outer for outer in tables.members(call_bucket(waiting.pop())) if outer not in found]
        found.update(dict.fromkeys(new))
        waiting.extend(new)
    return found


def take_out(tables: Tables, row: Row) -> None:
    """Remove an entry, and nothing else."""
    counters = tables.counters
    counters.version_floor = max(counters.version_floor, row.version)
    counters.n_entries -= 1
    counters.n_bytes -= row.n_bytes
    tables.relink(row, ())
    record(tables, row, Kind.DROPPED)
    tables.remove(row)
