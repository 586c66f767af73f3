"""Canonical texts of values, so that forms of one thing are one thing.

A doubled rebuild costs little and a missed one is a bug; so whatever two systems might write for one value has one
text here: 7, 7.0, "7" and Decimal("7.00"); True and 1; a UUID and its text in capitals; a date and its ISO form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import cast
from uuid import UUID

import msgspec

from everfresh.model.errors import InvalidDependency

# "\0" never begins a text of the outside world that anybody would match on.
NULL = "\0null"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)
# A longer number is an identifier; Decimal would still hold it, at a cost that grows with its length.
_MAX_NUMBER_LENGTH = 64


def canonical_text(value: object) -> str:
    """The one text of a value that occurs in events and dependencies.

    Raises:
        InvalidDependency: the value has no canonical text, for example an object of an unknown class.
    """
    match value:
        case Enum():
            return canonical_text(value.value)
        case str():
            return _text_of_str(value)
        case None:
            return NULL
        case bool() | int():
            return str(int(value))
        case float() | Decimal():
            return _text_of_number(Decimal(str(value)))
        case _:
            return _text_of_other(value)


def _text_of_str(value: str) -> str:
    first = value[:1]
    if first not in "0123456789+-.abcdefABCDEF":
        return value
    if len(value) <= _MAX_NUMBER_LENGTH and _NUMBER.fullmatch(value):
        return _text_of_number(Decimal(value))
    if _UUID.fullmatch(value):
        return str(UUID(value))
    if _MOMENT.fullmatch(value):
        try:
            return _text_of_moment(datetime.fromisoformat(value))
        except ValueError:
            return value
    return value


def _text_of_number(number: Decimal) -> str:
    try:
        if number == number.to_integral_value():
            return str(int(number))
    except (InvalidOperation, OverflowError, ValueError):
        return str(number)
    return str(number.normalize())


def _text_of_moment(moment: datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
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
            return str(value)
        case bytes():
            return "\0bytes" + value.hex()
        case Mapping():
            members = cast("Mapping[object, object]", value).items()
            items = sorted((canonical_text(name), canonical_text(inner)) for name, inner in members)
            return "\0map" + msgspec.json.encode(items).decode()
        case list() | tuple():
            elements = cast("Iterable[object]", value)
            return "\0list" + msgspec.json.encode([canonical_text(inner) for inner in elements]).decode()
        case _:
            msg = (
                f"dependency value: {type(value).__name__} has no canonical text. "
                "Use text, a number, a bool, None, a date, an Enum or a UUID."
            )
            raise InvalidDependency(msg)
