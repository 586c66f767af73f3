"""The refresh queue and what people ask, as SQL.

An entry in the queue waits for its time in one index, by `due`, and once that has come stands in another, by `rank`;
whoever asks what is due moves it. So what is due is found in its order, however much of it there is, and however much
waits with a better rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import merge
from itertools import islice

import msgspec

from everfresh.model.entry import Key, State
from everfresh.model.marks import override
from everfresh.protocol.inspecting import Counted, Listed
from everfresh.protocol.scheduling import NO_PACE, Pace
from everfresh.stores.sqlite_rows import SELECT, RowTable
from everfresh.stores.tables import Census, Queue, Row

# How many of a function are moved in one step, at about 3 µs each. If more fall due at once, the others follow.
_MAX_MOVED = 5_000
_MOVE = (
    "UPDATE entry SET is_ready = 1 WHERE id IN "
    "(SELECT id FROM entry WHERE function = ? AND is_ready = 0 AND due <= ? ORDER BY due LIMIT ?)"
)
_FIRST_WAITING = "SELECT due FROM entry WHERE function = ? AND is_ready = 0 ORDER BY due LIMIT 1"
_READY = f"{SELECT} WHERE function = ? AND is_ready = 1 ORDER BY rank LIMIT ?"
_COLDEST = f"{SELECT} WHERE version > 0 ORDER BY read_at LIMIT ?"
# See `Row.state_at`.
_STATE = (
    f"CASE WHEN state = '{State.FRESH.value}' AND (expires_at <= :now OR (event_at IS NOT NULL AND due <= :now "
    f"AND (token IS NULL OR until <= :now))) THEN '{State.DIRTY.value}' ELSE state END"
)
_LISTED = (
    f"SELECT key, function, {_STATE} AS shown, version, built_at, read_at, stale_since, reason, attempts, due, n_bytes "  # noqa: S608 - constants
    "FROM entry WHERE key > :after AND function = coalesce(:function, function) AND shown = coalesce(:state, shown) "
    "ORDER BY key LIMIT :n_max"
)
_COUNTED = (
    f"SELECT {_STATE} AS shown, count(*), sum(version > 0), sum(n_bytes) FROM entry "  # noqa: S608 - constants
    "WHERE function = coalesce(:function, function) GROUP BY shown"
)
_encode = msgspec.msgpack.Encoder().encode
_decode_pace = msgspec.msgpack.Decoder(Pace).decode


class QueueTable(RowTable, Queue, Census):
    """What is due, how fast functions are refreshed, who may go, and who is there."""

    @override
    def due(self, now: float, quotas: Mapping[str, int], n_max: int) -> tuple[list[Row], float | None]:
        self.write()
        ready: list[list[Row]] = []
        waiting: list[float] = []
        for function, quota in quotas.items():
            first = self._db.execute(_FIRST_WAITING, (function,)).fetchone()
            if first is not None and first[0] <= now:
                self._db.execute(_MOVE, (function, now, _MAX_MOVED))
                first = self._db.execute(_FIRST_WAITING, (function,)).fetchone()
            if first is not None:
                waiting.append(first[0])
            # One more than may be taken, unless its quota holds it back: to know whether there are more.
            n_read = quota if quota < n_max else n_max + 1
            found = self._db.execute(_READY, (function, n_read)).fetchall()
            ready.append(self._take_all(found))
        taken = list(islice(merge(*ready, key=lambda row: row.rank), n_max))
        is_more = sum(map(len, ready)) > n_max
        return taken, now if is_more else min(waiting, default=None)

    @override
    def n_leased(self, function: str, now: float) -> int:
        self.write()
        query = "SELECT count(*) FROM entry WHERE token IS NOT NULL AND until > ? AND function = ?"
        n_leased: int = self._db.execute(query, (now, function)).fetchone()[0]
        return n_leased

    @override
    def pace(self, function: str) -> Pace:
        found = self._db.execute("SELECT data FROM pace WHERE function = ?", (function,)).fetchone()
        return NO_PACE if found is None else _decode_pace(found[0])

    @override
    def set_pace(self, function: str, pace: Pace) -> None:
        if pace == self.pace(function):
            return
        if pace == NO_PACE:
            self._db.execute("DELETE FROM pace WHERE function = ?", (function,))
            return
        self._db.execute("INSERT OR REPLACE INTO pace (function, data) VALUES (?, ?)", (function, _encode(pace)))

    @override
    def coldest(self, n_max: int) -> list[Row]:
        self.write()
        return self._take_all(self._db.execute(_COLDEST, (n_max,)).fetchall())

    @override
    def listed(self, function: str | None, state: State | None, after: Key, n_max: int, now: float) -> list[Listed]:
        self.write()
        wanted = None if state is None else state.value
        given = {"after": after, "function": function, "state": wanted, "n_max": n_max, "now": now}
        return [_listed(*columns) for columns in self._db.execute(_LISTED, given)]

    @override
    def counted(self, function: str | None, now: float) -> Counted:
        self.write()
        found = self._db.execute(_COUNTED, {"function": function, "now": now}).fetchall()
        n_known, n_built, n_bytes = (sum(columns[place] for columns in found) for place in (1, 2, 3))
        return Counted(n_known, n_built, {State(columns[0]): columns[1] for columns in found}, n_bytes)


def _listed(  # noqa: PLR0913, PLR0917 - one for each column
    key: str,
    function: str,
    state: str,
    version: int,
    built_at: float,
    read_at: float,
    stale_since: float | None,
    reason: str,
    attempts: int,
    due: float | None,
    n_bytes: int,
) -> Listed:
    return Listed(
        key=Key(key),
        function=function,
        state=State(state),
        version=version,
        built_at=built_at,
        read_at=read_at,
        stale_since=stale_since,
        reason=reason,
        attempts=attempts,
        due=due,
        n_bytes=n_bytes,
    )
