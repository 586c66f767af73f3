"""Values as msgpack typed by the return annotation; digests, fingerprints, and what may be shared between callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from hashlib import blake2b
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import msgspec

from everfresh.cache.pydantic_types import adapter_of, dump, error_text, validate
from everfresh.model.errors import InvalidOption, ValueNotSupported
from everfresh.model.marks import override

T = TypeVar("T")

_DIGEST_BYTES = 16
_PLAIN = msgspec.msgpack.Encoder()
# Sets and dicts come out in one order, so equal values have equal digests in every process.
_ORDERED = msgspec.msgpack.Encoder(order="deterministic")
_IMMUTABLE = (str, int, float, bool, bytes, type(None), datetime, date, time, timedelta, Decimal, UUID, Enum)


class Codec(Generic[T]):
    """Turns values of one type into bytes and back; `T` is what the annotation says.

    Raises:
        InvalidOption: the annotation is of a kind that cannot be read back.
    """

    def __init__(self, annotation: Any, what: str) -> None:  # noqa: ANN401 - an annotation is any object
        self._what = what
        self._is_untyped = annotation is Any
        adapter = adapter_of(annotation)
        if adapter is None:
            self._dump: Callable[[Any], Any] = _same
            self._read: Callable[[bytes], Any] = _decoder(annotation, what).decode
        else:
            self._dump = partial(dump, adapter)
            self._read = lambda data: validate(adapter, msgspec.msgpack.decode(data))

    def encode(self, value: T) -> tuple[bytes, str]:
        """The value as bytes, and its digest.

        Raises:
            ValueNotSupported: it cannot be encoded, or does not fit the annotation; the message names the type.
        """
        try:
            plain = self._dump(value)
            data = _PLAIN.encode(plain)
            digest = blake2b(_in_order(plain), digest_size=_DIGEST_BYTES).hexdigest()
            decoded = self._read(data)
        except msgspec.ValidationError as error:
            msg = f"{self._what}: the value does not fit its annotation: {error}. Mend one of them."
            raise ValueNotSupported(msg) from error
        except Exception as error:
            why = error_text(error)
            msg = f"{self._what}: a value of type {_type_names(value)} cannot be stored: {why}. Return plain data."
            raise ValueNotSupported(msg) from error
        if self._is_untyped and not _is_alike(decoded, value):
            msg = (
                f"{self._what}: a value of type {_type_names(value)} would come back as {_type_names(decoded)}. "
                "Annotate the result of the function with its type, or use lists, dicts, text and numbers."
            )
            raise ValueNotSupported(msg)
        return data, digest

    def decode(self, data: bytes) -> T:
        """The value of the bytes, a new object each time."""
        return cast("T", self._read(data))


class _LeftOut:
    """Stands for the value of an id that has none."""


LEFT_OUT = _LeftOut()
"""What a function that loads many ids gives for one that it left out of its result."""

# An extension of msgpack is no value's data, as none is ever written as one under this number.
_LEFT_OUT_DATA = _PLAIN.encode(msgspec.msgpack.Ext(76, b""))


class CodecOfOne(Codec[Any]):
    """A codec for the value of one id, which may have been left out; that is stored too, and is read as None."""

    @override
    def encode(self, value: Any) -> tuple[bytes, str]:
        if value is LEFT_OUT:
            return _LEFT_OUT_DATA, blake2b(_LEFT_OUT_DATA, digest_size=_DIGEST_BYTES).hexdigest()
        return super().encode(value)

    @override
    def decode(self, data: bytes) -> Any:
        return None if is_left_out(data) else super().decode(data)


def is_left_out(data: bytes) -> bool:
    """Whether it was stored that an id has no value."""
    return data == _LEFT_OUT_DATA


def fingerprint_of(annotation: Any, name: str) -> str:  # noqa: ANN401 - as above
    """A text that changes with the function's name, which holds its version, and with the schema of its values."""
    schema: object
    adapter = adapter_of(annotation)
    try:
        schema = msgspec.json.schema(annotation) if adapter is None else adapter.json_schema()
    except (TypeError, ValueError):
        schema = str(annotation)
    return blake2b(_ORDERED.encode([name, schema]), digest_size=_DIGEST_BYTES).hexdigest()


def is_immutable(value: object) -> bool:
    """Whether no caller can change the value, so that all may be given the same object."""
    if isinstance(value, _IMMUTABLE):
        return True
    if isinstance(value, tuple | frozenset):
        return all(map(is_immutable, cast("tuple[object, ...]", value)))
    return _is_frozen(value) and all(map(is_immutable, _field_values(value)))


def _is_frozen(value: object) -> bool:
    if isinstance(value, msgspec.Struct):
        return value.__struct_config__.frozen
    # Every dataclass has its parameters there; typeshed does not say so.
    return is_dataclass(value) and not isinstance(value, type) and bool(cast("Any", value).__dataclass_params__.frozen)


def _field_values(value: object) -> Iterator[object]:
    if isinstance(value, msgspec.Struct):
        return (getattr(value, name) for name in value.__struct_fields__)
    return (getattr(value, field.name) for field in fields(cast("Any", value)))


def _in_order(value: object) -> bytes:
    """Bytes that are equal for equal values, whatever the order of their sets and dicts."""
    try:
        return _ORDERED.encode(value)
    except TypeError:
        # The encoder orders dicts by text alone; keys of other types take the long way.
        return _PLAIN.encode(_sorted(value))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return sorted(_PLAIN.encode([_sorted(name), _sorted(inner)]) for name, inner in items)
    if isinstance(value, set | frozenset):
        return sorted(_in_order(inner) for inner in cast("set[object]", value))
    if isinstance(value, list | tuple):
        return [_sorted(inner) for inner in cast("list[object]", value)]
    if isinstance(value, msgspec.Struct) or (is_dataclass(value) and not isinstance(value, type)):
        return [_sorted(inner) for inner in _field_values(value)]
    return value


def _is_alike(decoded: object, value: object) -> bool:
    """Whether the types are the same throughout; the encoder has seen to the rest."""
    if type(decoded) is not type(value):
        return False
    if isinstance(value, dict):
        ours, theirs = cast("dict[object, object]", value), cast("dict[object, object]", decoded)
        return all(name in theirs and _is_alike(theirs[name], inner) for name, inner in ours.items())
    if isinstance(value, list):
        return all(map(_is_alike, cast("list[object]", decoded), cast("list[object]", value)))
    return True


def _decoder(annotation: Any, what: str) -> msgspec.msgpack.Decoder[Any]:  # noqa: ANN401 - as above
    try:
        return msgspec.msgpack.Decoder(annotation)
    except TypeError as error:
        msg = f"{what}: a value of {annotation!r} cannot be read back: {error} Annotate another type."
        raise InvalidOption(msg) from error


def _same(value: Any) -> Any:  # noqa: ANN401 - passes anything through
    return value


def _type_names(value: object) -> str:
    """The value's type; for a container the types inside too, as the culprit is one of them."""
    name = type(value).__qualname__
    if isinstance(value, dict):
        inner = {type(item).__qualname__ for item in cast("dict[object, object]", value).values()}
    elif isinstance(value, list | tuple | set | frozenset):
        inner = {type(item).__qualname__ for item in cast("list[object]", value)}
    else:
        return name
    return f"{name} of {', '.join(sorted(inner))}" if inner else name
