"""A row as columns of the table `entry`, and back; what most steps do not look at is decoded when somebody does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from everfresh.matching.shapes import Group
from everfresh.model.entry import PLAIN_TERMS, Key, Recipe, State, Terms
from everfresh.protocol.requests import Seen
from everfresh.stores.tables import Row

COLUMNS = (
    "key",
    "function",
    "arguments",
    "state",
    "fingerprint",
    "digest",
    "version",
    "good_from",
    "changed_at",
    "built_at",
    "build_s",
    "groups",
    "seen",
    "terms",
    "stale_since",
    "reason",
    "attempts",
    "retry_at",
    "due",
    "token",
    "until",
    "begun",
    "n_died",
    "expires_at",
    "rank",
    "queued_at",
    "event_at",
    "event",
    "cause",
    "history",
    "builder",
    "is_error",
    "n_bytes",
    "read_at",
    "watched_until",
    "is_ready",
)
Columns = tuple[Any, ...]
"""The id of an entry and its columns, as they stand in the file."""

# Where they stand behind the id.
_PLACES = range(1, len(COLUMNS) + 1)
_DUE, _RANK, _IS_READY = (1 + COLUMNS.index(name) for name in ("due", "rank", "is_ready"))

PackedGroups = tuple[tuple[bytes, tuple[tuple[str, ...], ...]], ...]
_encode = msgspec.msgpack.Encoder().encode
_decode_groups = msgspec.msgpack.Decoder(PackedGroups).decode
_decode_seen = msgspec.msgpack.Decoder(tuple[tuple[Key, str], ...]).decode
_decode_texts = msgspec.msgpack.Decoder(tuple[str, ...]).decode
# A look-up costs a fifth of a call of the class.
STATE_OF = {state.value: state for state in State}

Unpack = Callable[[PackedGroups], tuple[Group, ...]]


class LazyRow(Row):
    """A row as it was read. Few steps look at `groups` and `seen`, which may be long: they stay packed until then."""

    __slots__ = ("known_groups", "known_seen", "packed_groups", "packed_seen", "unpack")

    known_groups: tuple[Group, ...] | None
    known_seen: tuple[Seen, ...] | None
    unpack: Unpack
    packed_groups: bytes | None
    packed_seen: bytes | None

    @property
    def groups(self) -> tuple[Group, ...]:
        """The entry's dependencies."""
        if self.known_groups is None:
            self.known_groups = self.unpack(_decode_groups(self.packed_groups)) if self.packed_groups else ()
        return self.known_groups

    @groups.setter
    def groups(self, groups: tuple[Group, ...]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.known_groups, self.packed_groups = groups, packed_groups(groups)

    @property
    def seen(self) -> tuple[Seen, ...]:
        """The entries that it was built from."""
        if self.known_seen is None:
            pairs = _decode_seen(self.packed_seen) if self.packed_seen else ()
            self.known_seen = tuple(Seen(key, digest) for key, digest in pairs)
        return self.known_seen

    @seen.setter
    def seen(self, seen: tuple[Seen, ...]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.known_seen, self.packed_seen = seen, _packed_seen(seen)


def row_of(columns: Columns, unpack: Unpack) -> Row:
    """The row; `unpack` finds the shapes of its groups."""
    row = LazyRow.__new__(LazyRow)
    (
        _,
        row.key,
        function,
        arguments,
        state,
        row.fingerprint,
        row.digest,
        row.version,
        row.good_from,
        row.changed_at,
        row.built_at,
        row.build_s,
        row.packed_groups,
        row.packed_seen,
        terms,
        row.stale_since,
        row.reason,
        row.attempts,
        row.retry_at,
        row.due,
        row.token,
        row.until,
        row.begun,
        row.n_died,
        row.expires_at,
        row.rank,
        row.queued_at,
        row.event_at,
        row.event,
        cause,
        history,
        row.builder,
        is_error,
        row.n_bytes,
        row.read_at,
        row.watched_until,
        _,
    ) = columns
    row.known_groups = row.known_seen = None
    row.unpack = unpack
    row.recipe = Recipe(function, arguments) if function else None
    row.state = STATE_OF[state]
    row.terms = PLAIN_TERMS if terms is None else _terms_of(terms)
    row.cause = () if cause is None else _decode_texts(cause)
    row.history = () if history is None else _decode_texts(history)
    row.is_error = bool(is_error)
    return row


def columns_of(row: Row, old: Columns) -> Columns:
    """The columns of the row now; `old` are those in the file, with its id."""
    recipe = row.recipe
    due, rank = row.due, row.rank
    return (
        old[0],
        row.key,
        "" if recipe is None else recipe.function,
        b"" if recipe is None else recipe.arguments,
        row.state.value,
        row.fingerprint,
        row.digest,
        row.version,
        row.good_from,
        row.changed_at,
        row.built_at,
        row.build_s,
        packed_groups_of(row),
        row.packed_seen if isinstance(row, LazyRow) else _packed_seen(row.seen),
        None if row.terms is PLAIN_TERMS else _packed_terms(row.terms),
        row.stale_since,
        row.reason,
        row.attempts,
        row.retry_at,
        due,
        row.token,
        row.until,
        row.begun,
        row.n_died,
        row.expires_at,
        rank,
        row.queued_at,
        row.event_at,
        row.event,
        _encode(row.cause) if row.cause else None,
        _encode(row.history) if row.history else None,
        row.builder,
        row.is_error,
        row.n_bytes,
        row.read_at,
        row.watched_until,
        # Whoever asks what is due moves those whose time has come.
        None if due is None else old[_IS_READY] if (due, rank) == (old[_DUE], old[_RANK]) else 0,
    )


NOTHING: Columns = (None,) * (1 + len(COLUMNS))
"""The columns of an entry that is not in the file."""


def changed_places(old: Columns, new: Columns) -> tuple[int, ...]:
    """Which columns have to be written."""
    places = [place for place in _PLACES if new[place] != old[place]]
    # It may have been moved meanwhile, behind the back of who read it before.
    is_queued_anew = new[_DUE] != old[_DUE] or new[_RANK] != old[_RANK]
    if is_queued_anew and _IS_READY not in places:
        places.append(_IS_READY)
    return tuple(places)


@lru_cache(maxsize=512)
def update_of(places: tuple[int, ...]) -> str:
    """The statement that writes these columns."""
    columns = ", ".join(f"{COLUMNS[place - 1]} = ?" for place in places)
    return f"UPDATE entry SET {columns} WHERE id = ?"  # noqa: S608 - names from above


def packed_groups(groups: Sequence[Group]) -> bytes | None:
    """The groups with the ids of their shapes."""
    return _encode([(group.shape.id, group.values) for group in groups]) if groups else None


def packed_groups_of(row: Row) -> bytes | None:
    """The same for the groups of a row."""
    return row.packed_groups if isinstance(row, LazyRow) else packed_groups(row.groups)


def _packed_seen(seen: Sequence[Seen]) -> bytes | None:
    return _encode([(one.key, one.digest) for one in seen]) if seen else None


# A program has few functions, so few terms.
@lru_cache(maxsize=1024)
def _packed_terms(terms: Terms) -> bytes | None:
    return None if terms == PLAIN_TERMS else _encode(terms)


@lru_cache(maxsize=1024)
def _terms_of(packed: bytes) -> Terms:
    return msgspec.msgpack.decode(packed, type=Terms)
