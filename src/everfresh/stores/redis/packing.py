"""Rows, counters and short answers, read as the scripts pack them; follows lua/tables_packing.lua.

Times are doubles, and what is none is not a number. Whole numbers have as many bytes as they need.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

import msgspec

from everfresh.model.entry import Key, Recipe, State
from everfresh.stores.tables import Row

_ROW_TAG, _COUNTERS_TAG = 0xE0, 0xD1
# Whole numbers of six bytes come in two pieces; what is not looked at is skipped.
_ROW = Struct("<BB5xIBIHIHIHdd4x8x4HB2I")
_ENDING, _UNDER_WAY, _COUNTERS, _LENGTH = Struct("<ddd"), Struct("<10d"), Struct("<B17d"), Struct("<I")
_STATE_OF = {_ROW_TAG + number: state for number, state in enumerate(State, start=1)}
# What the flags say.
_IS_ENDING, _IS_UNDER_WAY, _HAS_TEXTS, _HAS_FUNCTION, _IS_ERROR, _IS_UNSWEPT = 1, 2, 4, 8, 16, 32
_HAS_MORE = _IS_ENDING | _IS_UNDER_WAY | _HAS_TEXTS
_N_TEXTS = 6


class Counters(NamedTuple):
    """As far as the reading without a script needs them."""

    epoch: str
    sequence: int
    applied: int
    life: int


class PackedRow:
    """A row as far as the reading without a script looks at it."""

    __slots__ = (
        "attempts",
        "build_s",
        "built_at",
        "changed_at",
        "digest",
        "due",
        "event_at",
        "expires_at",
        "fingerprint",
        "good_from",
        "is_error",
        "key",
        "life",
        "reason",
        "recipe",
        "retry_at",
        "stale_since",
        "state",
        "token",
        "until",
        "version",
    )

    key: Key
    life: int
    state: State
    recipe: Recipe | None
    fingerprint: str
    digest: str
    version: int
    good_from: int
    changed_at: int
    built_at: float
    build_s: float
    stale_since: float | None
    reason: str
    attempts: int
    retry_at: float | None
    due: float | None
    token: float | None
    until: float
    expires_at: float | None
    event_at: float | None
    is_error: bool

    def function(self) -> str:
        """See `Row.function`."""
        return "" if self.recipe is None else self.recipe.function

    # Of what they look at, both have the same names.
    is_leased: Any = Row.is_leased
    has_expired: Any = Row.has_expired
    state_at: Any = Row.state_at
    look_at: Any = Row.look_at


def number_or_none(number: float) -> float | None:
    """The number; what is not equal to itself is none."""
    return number if number == number else None  # noqa: PLR0124 - as above


# They change with each step that writes, and are the same for all that is read between two.
@lru_cache(maxsize=16)
def counters_of(packed: bytes) -> Counters:
    """The counters.

    Raises:
        ValueError: nobody of us has packed them.
    """
    tag, sequence, _, _, _, _, _, applied, *_ = _COUNTERS.unpack_from(packed)
    _check(tag == _COUNTERS_TAG)
    epoch, life = _of_life(packed[_COUNTERS.size :])
    return Counters(epoch, int(sequence), int(applied), life)


@lru_cache(maxsize=16)
def _of_life(packed: bytes) -> tuple[str, int]:
    """The life's epoch and number, of what changes with it alone: six values of msgpack, one after the other."""
    epoch, _, _, _, life, _ = msgspec.msgpack.decode(b"\x96" + packed)
    return epoch, life


def row_of(key: Key, packed: bytes) -> PackedRow:
    """The row.

    Raises:
        ValueError: nobody of us has packed it.
        struct.error: the same.
    """
    (
        tag, flags, life, life_high, version, version_high, good_from, good_from_high, changed_at, changed_at_high,
        built_at, build_s, n_func, n_fingerprint, n_digest, n_builder, n_call, n_args, n_groups,
    ) = _ROW.unpack_from(packed)  # fmt: skip
    of_fingerprint = _ROW.size + n_func
    of_digest = of_fingerprint + n_fingerprint
    ends_at = of_digest + n_digest
    of_args = ends_at + n_builder + n_call
    at = of_args + n_args
    row = PackedRow()
    row.key, row.state, row.is_error = key, _STATE_OF.get(tag, State.SUSPECT), flags & _IS_ERROR != 0
    # What no sweep has seen is left to the script, as if it were of another life.
    row.life = life + (life_high << 32) if flags & _IS_UNSWEPT == 0 else 0
    row.version, row.good_from = version + (version_high << 32), good_from + (good_from_high << 32)
    row.changed_at, row.built_at, row.build_s = changed_at + (changed_at_high << 32), built_at, build_s
    row.fingerprint, row.digest = packed[of_fingerprint:of_digest].decode(), packed[of_digest:ends_at].decode()
    row.recipe = None
    if flags & _HAS_FUNCTION:
        row.recipe = Recipe(packed[_ROW.size : of_fingerprint].decode(), packed[of_args:at])
    row.stale_since = row.retry_at = row.due = row.token = row.expires_at = row.event_at = None
    row.until, row.attempts, row.reason = 0.0, 0, ""
    at += n_groups
    if flags & _HAS_MORE:
        at = _read_rest(row, packed, at, flags)
    _check(at == len(packed) and tag in _STATE_OF)
    return row


def _check(is_ours: bool) -> None:  # noqa: FBT001 - a claim
    if not is_ours:
        msg = "nobody of us has packed this"
        raise ValueError(msg)


def _read_rest(row: PackedRow, packed: bytes, at: int, flags: int) -> int:
    """What only some rows have; where it ends."""
    if flags & _IS_ENDING:
        due, _, expires_at = _ENDING.unpack_from(packed, at)
        row.due, row.expires_at = number_or_none(due), number_or_none(expires_at)
        at += _ENDING.size
    if flags & _IS_UNDER_WAY:
        stale_since, retry_at, token, row.until, _, _, attempts, _, event_at, _ = _UNDER_WAY.unpack_from(packed, at)
        row.stale_since, row.retry_at = number_or_none(stale_since), number_or_none(retry_at)
        row.token, row.event_at, row.attempts = number_or_none(token), number_or_none(event_at), int(attempts)
        at += _UNDER_WAY.size
    if flags & _HAS_TEXTS:
        for number in range(_N_TEXTS):
            start = at + _LENGTH.size
            at = start + _LENGTH.unpack_from(packed, at)[0]
            if number == 0:
                row.reason = packed[start:at].decode()
    return at
