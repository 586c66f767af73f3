"""Errors as values: what a function raises can be stored and raised anew, when its function names the error.

An error is written as the name of its type with its arguments and attributes, as far as they are plain data. It is made
again from the types that the function names and those below them: no type is ever looked up by what a store says. Its
own `__init__`, which need not take what `args` holds, is not run for that, but Python's below it. It is made again once
before it is stored, and must look as it was raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from types import GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, cast

import msgspec

from everfresh.cache.canonical_arguments import argument_text
from everfresh.cache.recipes import pack_argument, unpack_argument
from everfresh.model.errors import ArgumentNotSupported, BuildError, EverfreshError

ErrorTypes = tuple[type[Exception], ...]

_DIGEST_BYTES = 16
# What `__reduce__` gives: how to make the error, of which arguments, and perhaps its state.
_N_WITHOUT_STATE = 2
_UNSET = object()


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
        ArgumentNotSupported: one of its arguments is no plain data, as the message says; or it cannot be made again.
    """
    named = next(type_ for type_ in types if isinstance(error, type_))
    args, attributes = _parts(error)
    written = _Written(_name(type(error)), _name(named), _packed_args(error, args), dict(_packed(attributes)))
    data = msgspec.msgpack.encode(written)
    if not _looks_like(decode_error(data, types), error):
        msg = f"{type(error).__qualname__}: made again from its arguments, it would not be the same."
        raise ArgumentNotSupported(msg)
    return data, blake2b(data, digest_size=_DIGEST_BYTES, person=b"error").hexdigest()


def decode_error(data: bytes, types: ErrorTypes) -> Exception:
    """The error of the bytes, a new one each time, of the type that was raised if it is known here."""
    written = _DECODER.decode(data)
    args: tuple[Any, ...] = unpack_argument(written.args, Any)
    found = _type_named(written.type, types) or _type_named(written.named, types)
    if found is None:
        msg = f"an error of type {written.type} was cached, which this process does not name in cache_errors: {args!r}"
        return BuildError(msg)
    try:
        error = _made(found, args)
        for name, packed in written.attributes.items():
            _set(error, name, unpack_argument(packed, Any))
    except Exception as why:  # noqa: BLE001 - its type is somebody else's code, and may be newer than what was stored
        reason = type(why).__name__
        return BuildError(f"an error of type {written.type} was cached, and cannot be made again ({reason}): {args!r}")
    return error


def own_error(error: Exception) -> Exception:
    """The error as another object that is like it, for one of several who meet it; itself where there can be none.

    So nobody sees the notes, the attributes and the traceback that others give to theirs.
    """
    try:
        args, attributes = _parts(error)
        made = _made(type(error), args)
        for name, value in attributes.items():
            _set(made, name, [*value] if name == "__notes__" else value)
        for name in ("__cause__", "__context__", "__suppress_context__"):
            _set(made, name, getattr(error, name))
        made = made.with_traceback(error.__traceback__)
        return made if _looks_like(made, error) and _is_same_inside(made, error) else error
    except Exception:  # noqa: BLE001 - its type is somebody else's code
        return error


def type_written(data: bytes) -> str:
    """The name of the type of the error of the bytes; nothing is made."""
    return _DECODER.decode(data).type


def _parts(error: Exception) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the error is made of: arguments and attributes.

    Python's own errors keep some of both in places of theirs, such as the name of a file, and tell of them when they
    are asked how to make them again.
    """
    args, attributes = error.args, dict(vars(error))
    if isinstance(type(error).__reduce__, MethodDescriptorType):
        # What a type of Python's answers is known; `__reduce__` of others may say anything.
        reduced = cast("tuple[Any, ...]", error.__reduce__())
        args = reduced[1]
        attributes |= (reduced[2] or {}) if len(reduced) > _N_WITHOUT_STATE else {}
    return args, attributes


def _made(found: type[Exception], args: tuple[Any, ...]) -> Exception:
    error = found.__new__(found, *args)
    _init_of_python(found)(error, *args)
    return error


def _init_of_python(found: type[Exception]) -> Callable[..., None]:
    """The nearest `__init__` that is Python's own: it fills the places in which Python's own errors keep things."""
    inits: Iterator[object] = (vars(type_).get("__init__") for type_ in found.__mro__)
    return next(init for init in inits if isinstance(init, WrapperDescriptorType))


def _set(error: Exception, name: str, value: object) -> None:
    # Not `setattr`: one that is frozen refuses that.
    object.__setattr__(error, name, value)


def _is_same_inside(made: Exception, error: Exception) -> bool:
    """Whether Python's own places and slots hold the same, such as the name of a file."""
    pairs = zip(_inside(made), _inside(error), strict=True)
    return all(one is other or one == other for one, other in pairs)


def _inside(error: Exception) -> Iterator[object]:
    for type_ in type(error).__mro__:
        for name, place in vars(type_).items():
            if isinstance(place, MemberDescriptorType | GetSetDescriptorType) and name != "__weakref__":
                yield getattr(error, name, _UNSET)


def _looks_like(made: Exception, error: Exception) -> bool:
    try:
        return type(made) is type(error) and _shown(made) == _shown(error)
    except Exception:  # noqa: BLE001 - an error that cannot even be shown
        return False


def _shown(error: Exception) -> tuple[str, str, bool]:
    # Whoever prints it asks for its notes. Those that look attributes up in a part of theirs, such as a response, fail
    # at that when they lack the part.
    return str(error), repr(error), hasattr(error, "everfresh_asks")


def _packed_args(error: Exception, args: tuple[Any, ...]) -> bytes:
    msg = f"{type(error).__qualname__}: its arguments {args!r} are no plain data."
    try:
        packed = pack_argument(args)
        is_same = _is_same(packed, args)
    except ArgumentNotSupported as why:
        raise ArgumentNotSupported(msg) from why
    if not is_same:
        raise ArgumentNotSupported(msg)
    return packed


def _packed(attributes: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Those that are plain data; the others, a response or a connection, belong to the process that raised it."""
    for name, value in sorted(attributes.items()):
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
