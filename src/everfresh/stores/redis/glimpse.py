"""The reading that everybody waits for: one entry with its value, without a script.

A script costs the server fifteen microseconds more than a read of the same keys, which is a third of a hit. So the
counters, the row and its value are read by one command, as of one moment, with the server's time in the same packet;
and what the step answers is decided here. Whatever is not as most entries are goes to the script: a row of another
life, one whose inner entries have to be looked at, one whose value somebody deleted.

Both sides know the order of the fields: `tables_rows.lua` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import msgspec

from everfresh.model.entry import Key, Recipe, State
from everfresh.protocol.requests import Load, Loaded
from everfresh.stores import showing
from everfresh.stores.tables import Journal, Row, Tables

Found = Sequence[bytes | None]
"""The counters, the row and the value."""
Told = tuple[Sequence[bytes], Found]
"""The server's time, and what was found."""

# In msgpack: above what says by itself how long a text is, and before the longest text.
_ABOVE_SHORT, _LONGEST = 0xC0, 0xDB
# How many fields are packed one after the other; as an array begins with their number, one is read as such.
_N_COUNTERS, _N_FIELDS = 22, 37


class _Counters(msgspec.Struct, array_like=True, frozen=True):
    epoch: str
    sequence: int
    applied: int
    fired_floor: int
    feed_floor: int
    version_floor: int
    token: int
    n_entries: int
    n_bytes: int
    id: int
    n_shapes: int
    marks_max: int
    cold_id: int
    born_at: float
    distrusted_at: float
    distrust_reason: str
    life: int


class _Row(msgspec.Struct, array_like=True):
    """A row as far as the step looks at it; what is no text stays packed."""

    id: int
    life: int
    state: State
    func: str | None
    packed_arguments: msgspec.Raw
    call: msgspec.Raw
    fingerprint: str
    digest: str
    version: int
    good_from: int
    changed_at: int
    built_at: float
    build_s: float
    groups: msgspec.Raw
    seen: msgspec.Raw
    terms: msgspec.Raw
    stale_since: float | None
    reason: str
    attempts: int
    retry_at: float | None
    due: float | None
    rank: float
    token: int | None
    until: float
    begun: int
    n_died: int
    expires_at: float | None
    queued_at: float | None
    event_at: float | None
    event: msgspec.Raw
    cause: msgspec.Raw
    history: msgspec.Raw
    builder: str
    is_error: bool
    n_bytes: int
    read_at: float
    watched_until: float
    key: Key = Key("")
    """Which is not packed with the rest."""

    @property
    def recipe(self) -> Recipe | None:
        """What a worker needs to build it; None for a value that was put."""
        return None if self.func is None else Recipe(self.func, _bytes_of(self.packed_arguments))

    def function(self) -> str:
        """See `Row.function`."""
        return self.func or ""

    is_leased = Row.is_leased
    has_expired = Row.has_expired
    state_at = Row.state_at
    look_at = Row.look_at


class _Glimpse(NamedTuple):
    """The tables as far as the step looks at them."""

    counters: _Counters
    journal: Journal
    data: bytes

    def value(self, _: Row) -> bytes:
        """See `Rows.value`."""
        return self.data


_decode_counters = msgspec.msgpack.Decoder(_Counters).decode
_decode_row = msgspec.msgpack.Decoder(_Row).decode
_BEGIN_COUNTERS = b"\xdc" + _N_COUNTERS.to_bytes(2, "big")
_BEGIN_ROW = b"\xdc" + _N_FIELDS.to_bytes(2, "big")


def question_of(counters_key: bytes, key: Key) -> bytes:
    """The packet that asks for the time, and for the counters, the row and the value of the entry."""
    name = key.encode()
    shared = counters_key[:-1]
    row, value = shared + b"r:" + name, shared + b"v:" + name
    return b"*1\r\n$4\r\nTIME\r\n*4\r\n$4\r\nMGET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(counters_key),
        counters_key,
        len(row),
        row,
        len(value),
        value,
    )


def glimpsed(request: Load, now: float, found: Found) -> Loaded | None:
    """The answer; None when the script has to look."""
    packed_counters, packed_row, value = found
    if packed_counters is None:
        return None
    counters = _counters(packed_counters)
    if packed_row is None:
        tables = cast("Tables", _Glimpse(counters, Journal(now), b""))
        return showing.loaded(tables, None, None)
    try:
        row: Any = _decode_row(_BEGIN_ROW + packed_row)
    except msgspec.MsgspecError:
        # Somebody wrote into it; the script takes it away.
        return None
    if row.life != counters.life or row.state is State.SUSPECT or (value is None and row.version):
        return None
    row.key = request.key
    return showing.loaded(cast("Tables", _Glimpse(counters, Journal(now), value or b"")), row, request.fingerprint)


def time_of(told: Sequence[bytes]) -> float:
    """The server's time in seconds."""
    seconds, microseconds = told
    return int(seconds) + int(microseconds) / 1_000_000


# They change with each step that writes, and are the same for all that is read between two.
@lru_cache(maxsize=16)
def _counters(packed: bytes) -> _Counters:
    return _decode_counters(_BEGIN_COUNTERS + packed)


def _bytes_of(packed: msgspec.Raw) -> bytes:
    """The bytes that were packed as a text."""
    data = bytes(packed)
    code = data[0]
    # The length of the others takes one byte, two or four.
    return data[1 if code < _ABOVE_SHORT else 5 if code == _LONGEST else code - 0xD7 :]
