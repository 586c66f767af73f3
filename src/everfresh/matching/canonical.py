"""Canonical texts of values, so that forms of one thing are one thing.

A doubled rebuild costs little and a missed one is a bug; so whatever two systems might write for one value has one
text here: 7, 7.0, "7" and Decimal("7.00"); True and 1; a UUID and its text in capitals; a date and its ISO form.

What comes out hangs on the value alone: not on the process, the time zone of the machine, or the decimal context.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from enum import Enum
from typing import cast
from uuid import UUID

from everfresh.model.errors import InvalidDependency

# "\0" never begins a text of the outside world that anybody would match on.
NULL = "\0null"
# A dependency on a deeper value is refused; in an event it touches whatever its shape could mean.
_MAX_DEPTH = 32
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)
# The usual context would round, and the caller may have set another.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
# Beyond these powers of ten a number is written with an exponent: 1e999999 would be a text of a megabyte.
_MAX_PLAIN = 1_000
_INT64 = range(-(2**63), 2**63)


def canonical_text(value: object) -> str:
    """The one text of a value that occurs in events and dependencies.

    Raises:
        InvalidDependency: the value has no canonical text, for example an object of an unknown class.
    """
    # The two that nearly every event holds, before the general way.
    if type(value) is str:
        return _text_of_str(value)
    if type(value) is int and value in _INT64:
        return str(value)
    match value:
        case Enum():
            return canonical_text(value.value)
        case str():
            # A subclass, such as Markup, is the text that it holds; what stores texts takes no subclass.
            return _text_of_str(str.__str__(value))
        case None:
            return NULL
        case bool() | int():
            # Python writes no int of more than 4,300 digits.
            return str(int(value)) if value in _INT64 else _text_of_number(Decimal(int(value)))
        case float() | Decimal():
            return _text_of_number(Decimal(str(value)))
        case _:
            return _text_of_other(value)


def is_plain(value: object) -> bool:
    """Whether the value stands for its text alone: no two values of its kind that have the text could be told apart.

    A text that is written otherwise, such as '1.10', is not plain: to a column of texts '1.1' is another one.
    """
    if isinstance(value, Enum):
        return is_plain(value.value)
    if isinstance(value, str):
        written = str.__str__(value)
        return written == canonical_text(written)
    return not isinstance(value, Mapping | list | tuple)


def _text_of_str(value: str) -> str:
    first = value[:1]
    if first not in "0123456789+-.abcdefABCDEF":
        return value
    if _UUID.fullmatch(value):
        return _text_of_uuid(UUID(value))
    if _NUMBER.fullmatch(value):
        return _text_of_number(Decimal(value))
    if _MOMENT.fullmatch(value):
        try:
            return _text_of_moment(datetime.fromisoformat(value))
        except ValueError:
            return value
    return value


def _text_of_number(number: Decimal) -> str:
    if number.is_zero():
        return "0"
    short = number.normalize(_EXACT)
    if number.is_finite() and abs(short.adjusted()) <= _MAX_PLAIN:
        return f"{short:f}"
    return _EXACT.to_sci_string(short)


def _text_of_uuid(value: UUID) -> str:
    # Without its dashes a UUID may look like a number, and nobody can tell which is meant: so it is one in all forms.
    return _text_of_number(Decimal(value.hex)) if _NUMBER.fullmatch(value.hex) else str(value)


def _text_of_moment(moment: datetime) -> str:
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=None).isoformat()
    try:
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    except OverflowError:
        # "9999-12-31T23:59:59-05:00" is how some systems write "never"; in UTC it has no year.
        return moment.isoformat()


def _text_of_other(value: object) -> str:
    match value:
        case datetime():
            return _text_of_moment(value)
        case date() | time():
            return value.isoformat()
        case timedelta():
            return _text_of_number(Decimal(str(value.total_seconds())))
        case UUID():
            return _text_of_uuid(value)
        case bytes():
            return "\0bytes" + value.hex()
        case Mapping() | list() | tuple():
            return _text_of_nested(cast("object", value), _MAX_DEPTH)
        case _:
            msg = (
                f"dependency value: {type(value).__name__} has no canonical text. "
                "Use text, a number, a bool, None, a date, an Enum or a UUID."
            )
            raise InvalidDependency(msg)


def _text_of_nested(value: object, depth: int) -> str:
    """Parts framed by their length, so the text grows with what it writes, however deep that is nested."""
    if not isinstance(value, Mapping | list | tuple):
        return canonical_text(value)
    if depth == 0:
        raise InvalidDependency(f"dependency value: it is nested over {_MAX_DEPTH} deep. Match on a field inside it.")
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value).items()
        parts = [framed(canonical_text(name)) + framed(_text_of_nested(inner, depth - 1)) for name, inner in members]
        return "\0map" + "".join(sorted(parts))
    elements = cast("Iterable[object]", value)
    return "\0list" + "".join(framed(_text_of_nested(inner, depth - 1)) for inner in elements)


def framed(text: str) -> str:
    """The text with its length before it, so that several in a row never alias."""
    return f"{len(text)}:{text}"


def unframed(joined: str) -> list[str]:
    """The framed texts that stand in a row."""
    texts: list[str] = []
    at = 0
    while at < len(joined):
        colon = joined.index(":", at)
        at = colon + 1 + int(joined[at:colon])
        texts.append(joined[colon + 1 : at])
    return texts
