"""What goes when a store may hold no more: the entries that were read longest ago, with what was built from them."""

from __future__ import annotations

from everfresh.matching.shapes import call_bucket
from everfresh.model.entry import Key, Kind
from everfresh.stores.tables import Row, Tables, record

# How many of the coldest entries are looked at to find one that nothing was built from.
_N_COLDEST = 16
# A step that clears more than this would hold up all others; what is left goes with the next ones.
_MAX_EVICTED = 64


def make_room(tables: Tables, kept: Row) -> None:
    """Drop entries while there are more than the store may hold: the longest unread, if nothing was built from them.

    What was built from one that has to go goes with it: nobody watches over its dependencies any more, and to build it
    anew would bring back what there is no room for. What was just written is kept, unless it needs all that is there.
    """
    room = tables.room
    if tables.row(kept.key) is not kept:
        return
    if room.max_bytes is not None and kept.n_bytes > room.max_bytes:
        _evict(tables, kept)
        return
    for _ in range(_MAX_EVICTED):
        counters = tables.counters
        is_over = room.max_entries is not None and counters.n_entries > room.max_entries
        if not is_over and (room.max_bytes is None or counters.n_bytes <= room.max_bytes):
            return
        now = tables.journal.now
        coldest = [row for row in tables.coldest(_N_COLDEST) if row.key != kept.key and not row.is_leased(now)]
        if not coldest:
            return
        leaves = [row for row in coldest if not tables.members(call_bucket(row.key))]
        leaf = next((row for row in leaves if not _was_read_since(tables, row)), None)
        if leaf is not None:
            _evict(tables, leaf)
            continue
        if leaves:
            # All were read lately, which is noted now; look again.
            continue
        _evict(tables, next((row for row in coldest if kept.key not in _built_from(tables, row)), kept))
        if tables.row(kept.key) is not kept:
            return


def _was_read_since(tables: Tables, row: Row) -> bool:
    """Whether readers used the entry since the store was told; then it is told by this."""
    read_at = tables.last_read(row.key)
    if read_at is None or read_at <= row.read_at:
        return False
    row.read_at = read_at
    tables.save(row)
    return True


def _evict(tables: Tables, row: Row) -> None:
    for key in _built_from(tables, row):
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
