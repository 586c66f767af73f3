"""Errors as values: what a function raises can be stored and raised anew, when its function names the error.

An error is written as the name of its type with its arguments and attributes, as far as they are plain data. It is made
again from the types that the function names and those below them: no type is ever looked up by what a store says.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import msgspec

from everfresh.cache.canonical_arguments import argument_text
from everfresh.cache.recipes import pack_argument, unpack_argument
from everfresh.model.errors import ArgumentNotSupported, BuildError, EverfreshError

ErrorTypes = tuple[type[Exception], ...]

_DIGEST_BYTES = 16


class _Written(msgspec.Struct, frozen=True, array_like=True):
    """An error: its type, the type under which its function names it, its arguments and its attributes."""

    type: str
    named: str
    args: bytes
    attributes: dict[str, bytes]


_DECODER = msgspec.msgpack.Decoder(_Written)


def is_cached(error: Exception, types: ErrorTypes) -> bool:
    """Whether the function names the error. One of Everfresh's own must be named by itself: it tells of no source."""
    if isinstance(error, EverfreshError):
        return any(isinstance(error, type_) for type_ in types if issubclass(type_, EverfreshError))
    return isinstance(error, types)


def encode_error(error: Exception, types: ErrorTypes) -> tuple[bytes, str]:
    """The error as bytes, and its digest, which is no value's.

    Raises:
        ArgumentNotSupported: one of its arguments is no plain data; the message says which.
    """
    named = next(type_ for type_ in types if isinstance(error, type_))
    written = _Written(_name(type(error)), _name(named), _packed_args(error), dict(_packed_attributes(error)))
    data = msgspec.msgpack.encode(written)
    return data, blake2b(data, digest_size=_DIGEST_BYTES, person=b"error").hexdigest()


def decode_error(data: bytes, types: ErrorTypes) -> Exception:
    """The error of the bytes, a new one each time, of the type that was raised if it is known here."""
    written = _DECODER.decode(data)
    args: tuple[Any, ...] = unpack_argument(written.args, Any)
    found = _type_named(written.type, types) or _type_named(written.named, types)
    if found is None:
        msg = f"an error of type {written.type} was cached, which this process does not name in cache_errors: {args!r}"
        return BuildError(msg)
    # Not by its `__init__`, which need not take what `args` holds.
    error = found.__new__(found, *args)
    error.args = args
    for name, packed in written.attributes.items():
        setattr(error, name, unpack_argument(packed, Any))
    return error


def _packed_args(error: Exception) -> bytes:
    packed = pack_argument(error.args)
    if not _is_same(packed, error.args):
        msg = f"{type(error).__qualname__}: its arguments {error.args!r} are no plain data."
        raise ArgumentNotSupported(msg)
    return packed


def _packed_attributes(error: Exception) -> Iterator[tuple[str, bytes]]:
    """Those that are plain data; the others, a response or a connection, belong to the process that raised it."""
    for name, value in sorted(vars(error).items()):
        try:
            packed = pack_argument(value)
            if _is_same(packed, value):
                yield name, packed
        except ArgumentNotSupported:
            continue


def _is_same(packed: bytes, value: object) -> bool:
    return argument_text(unpack_argument(packed, Any)) == argument_text(value)


def _name(type_: type[Exception]) -> str:
    return f"{type_.__module__}.{type_.__qualname__}"


def _type_named(name: str, types: ErrorTypes) -> type[Exception] | None:
    """The type of that name among these and their subclasses."""
    waiting = list(types)
    seen = set(types)
    while waiting:
        type_ = waiting.pop()
        if _name(type_) == name:
            return type_
        below = [one for one in type.__subclasses__(type_) if one not in seen]
        seen.update(below)
        waiting.extend(below)
    return None
