"""Arguments as bytes, so that a worker in another process can call the function again. Never pickle.

Builtin values keep their exact type through msgpack extensions. Objects (Enum, dataclass, Struct, a Pydantic model) are
written as plain data and made anew by the parameter's annotation, so no type is ever named by the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec.msgpack import Ext

from everfresh.cache.canonical_arguments import moment_text
from everfresh.cache.pydantic_types import adapter_of, dump, error_text, validate
from everfresh.model.errors import ArgumentNotSupported

_TUPLE, _SET, _FROZENSET, _PAIRS, _DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, _INT, _OBJECT = range(1, 13)
_INT64 = range(-(2**63), 2**64)


class Plain:
    """An object as plain data, waiting for an annotation."""

    __slots__ = ("data",)

    def __init__(self, data: object) -> None:
        self.data = data


def pack_argument(value: object) -> bytes:
    """The argument as bytes.

    Raises:
        ArgumentNotSupported: it cannot be written.
    """
    try:
        return msgspec.msgpack.encode(_prepared(value))
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"an argument of type {type(value).__qualname__} cannot be sent to a worker: {error}. Pass plain data."
        raise ArgumentNotSupported(msg) from error


def unpack_argument(data: bytes, annotation: object) -> Any:  # noqa: ANN401 - arguments are of any type
    """The argument of the bytes; objects in it are made by the annotation.

    Raises:
        ArgumentNotSupported: the annotation does not say how to make them.
    """
    value = _read(data)
    if not _has_objects(value):
        return value
    try:
        return _converted(_plain(value), annotation)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        why = error_text(error)
        msg = f"it cannot be made anew from annotation {annotation!r}: {why}. Annotate the parameter with its type."
        raise ArgumentNotSupported(msg) from error


def _prepared(value: object) -> object:
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if kind is int:
        return value if value in _INT64 else Ext(_INT, str(value).encode())
    if kind is list:
        return [_prepared(inner) for inner in cast("list[object]", value)]
    if kind is dict:
        return _prepared_dict(cast("dict[object, object]", value))
    writer = _WRITERS.get(kind)
    if writer is None:
        return Ext(_OBJECT, msgspec.msgpack.encode(_to_builtins(value)))
    code, write = writer
    return Ext(code, write(value))


def _prepared_dict(value: dict[object, object]) -> object:
    if all(type(name) is str for name in value):
        return {name: _prepared(inner) for name, inner in value.items()}
    return Ext(_PAIRS, msgspec.msgpack.encode([[_prepared(name), _prepared(inner)] for name, inner in value.items()]))


def _to_builtins(value: object) -> object:
    adapter = adapter_of(type(value))
    return msgspec.to_builtins(value) if adapter is None else dump(adapter, value)


def _packed_items(value: object) -> bytes:
    return msgspec.msgpack.encode([_prepared(inner) for inner in cast("Iterable[object]", value)])


def _text(value: object) -> bytes:
    return str(value).encode()


# Any: each writer takes the type under which it stands.
_WRITERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    tuple: (_TUPLE, _packed_items),
    set: (_SET, _packed_items),
    frozenset: (_FROZENSET, _packed_items),
    datetime: (_DATETIME, lambda value: moment_text(value).encode()),
    date: (_DATE, lambda value: value.isoformat().encode()),
    time: (_TIME, lambda value: moment_text(value).encode()),
    timedelta: (_TIMEDELTA, lambda value: f"{value.days},{value.seconds},{value.microseconds}".encode()),
    Decimal: (_DECIMAL, _text),
    UUID: (_UUID, _text),
}


def _read(data: bytes) -> Any:  # noqa: ANN401 - arguments are of any type
    return msgspec.msgpack.decode(data, ext_hook=_from_ext)


# Any: each reader makes another type.
_READERS: dict[int, Callable[[bytes], Any]] = {
    _TUPLE: lambda data: tuple(_read(data)),
    _SET: lambda data: set(_read(data)),
    _FROZENSET: lambda data: frozenset(_read(data)),
    _PAIRS: lambda data: {name: inner for name, inner in _read(data)},  # noqa: C416 - the pairs are lists
    _DATETIME: lambda data: _moment(datetime, data.decode()),
    _DATE: lambda data: date.fromisoformat(data.decode()),
    _TIME: lambda data: _moment(time, data.decode()),
    _TIMEDELTA: lambda data: timedelta(*map(int, data.decode().split(","))),
    _DECIMAL: lambda data: Decimal(data.decode()),
    _UUID: lambda data: UUID(data.decode()),
    _INT: lambda data: int(data.decode()),
    _OBJECT: lambda data: Plain(msgspec.msgpack.decode(data)),
}


def _moment(kind: type[datetime | time], text: str) -> datetime | time:
    """Read what `moment_text` wrote."""
    iso, _, rest = text.partition("[")
    zone, _, fold = rest.partition("]")
    moment = kind.fromisoformat(iso).replace(fold=1 if fold else 0)
    return moment.replace(tzinfo=ZoneInfo(zone)) if zone else moment


def _from_ext(code: int, data: memoryview) -> Any:  # noqa: ANN401 - as above
    return _READERS[code](bytes(data))


def _has_objects(value: object) -> bool:
    if isinstance(value, Plain):
        return True
    if isinstance(value, dict):
        items = cast("dict[object, object]", value)
        return any(map(_has_objects, items)) or any(map(_has_objects, items.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_objects, cast("list[object]", value)))
    return False


def _plain(value: object) -> object:
    if isinstance(value, Plain):
        return value.data
    if isinstance(value, dict):
        return {_plain(name): _plain(inner) for name, inner in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in cast("list[object]", value)]
    return value


def _converted(value: object, annotation: Any) -> Any:  # noqa: ANN401 - an annotation is any object
    adapter = adapter_of(annotation)
    return msgspec.convert(value, annotation) if adapter is None else validate(adapter, value)
