"""Canonical texts of arguments: two calls are one when their texts are equal.

Unlike the values of dependencies, `7` and `"7"`, `1` and `True`, a list and a tuple are different here: the function
may tell them apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from everfresh.cache.keys import is_storable
from everfresh.model.errors import ArgumentNotSupported


def argument_text(value: object) -> str:
    """The canonical text of an argument.

    Raises:
        ArgumentNotSupported: it has none; the message names the type.
    """
    try:
        write = _WRITERS.get(type(value), _text_of_instance)
        return write(value)
    except (RecursionError, ValueError) as error:
        msg = f"an argument of type {type(value).__qualname__} has no canonical form: {error}. Pass something smaller."
        raise ArgumentNotSupported(msg) from error


def moment_text(value: datetime | time) -> str:
    """The ISO form with the name of the zone, as two zones may agree at a moment and differ a day later.

    Raises:
        ArgumentNotSupported: its zone has no name.
    """
    zone = value.tzinfo
    if zone is None or isinstance(zone, timezone):
        name = ""
    elif isinstance(zone, ZoneInfo) and zone.key:
        # The offset follows from the zone, and fold tells apart the hour that is there twice.
        value, name = value.replace(tzinfo=None), zone.key
    else:
        msg = f"a time with {type(zone).__qualname__} has no canonical form. Use zoneinfo.ZoneInfo or timezone.utc."
        raise ArgumentNotSupported(msg)
    return f"{value.replace(fold=0).isoformat()}[{name}]" + ("+" if value.fold else "")


def _text_of_instance(value: object) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Enum):
        # A combination of flags may have no name, whatever typeshed says.
        member = cast("str | None", value.name)
        return f"{name}.{member}" if member is not None else f"{name}({argument_text(value.value)})"
    if isinstance(value, type):
        raise ArgumentNotSupported(_refusal(value))
    if isinstance(value, msgspec.Struct):
        return _text_of_fields(name, [(field, getattr(value, field)) for field in value.__struct_fields__])
    if is_dataclass(value):
        return _text_of_fields(name, [(field.name, getattr(value, field.name)) for field in fields(value)])
    # Pydantic is not installed for everybody; its models have their fields there.
    model_fields: Iterable[str] | None = getattr(type(value), "__pydantic_fields__", None)
    if model_fields is not None:
        extra: dict[str, object] = getattr(value, "__pydantic_extra__", None) or {}
        return _text_of_fields(name, [(field, getattr(value, field)) for field in model_fields] + sorted(extra.items()))
    names: tuple[str, ...] | None = getattr(value, "_fields", None)
    if names is not None and isinstance(value, tuple):
        elements = cast("tuple[object, ...]", value)
        return _text_of_fields(name, list(zip(names, elements, strict=True)))
    raise ArgumentNotSupported(_refusal(value))


def _text_of_fields(name: str, items: Iterable[tuple[str, object]]) -> str:
    return name + "(" + ", ".join(f"{field}={argument_text(value)}" for field, value in items) + ")"


def _texts(values: object) -> str:
    return ", ".join(map(argument_text, cast("Iterable[object]", values)))


def _sorted_texts(values: object) -> str:
    return ", ".join(sorted(map(argument_text, cast("Iterable[object]", values))))


def _text_of_dict(value: object) -> str:
    items = cast("dict[object, object]", value).items()
    return "{" + ", ".join(sorted(f"{argument_text(name)}: {argument_text(inner)}" for name, inner in items)) + "}"


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair cannot be written as UTF-8.
    return text if text.isascii() or is_storable(text) else json.dumps(value)


# Any: each writer takes the type under which it stands.
_WRITERS: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    int: str,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    float: repr,
    bytes: lambda value: f"bytes({value.hex()})",
    list: lambda value: f"[{_texts(value)}]",
    tuple: lambda value: f"({_texts(value)},)",
    set: lambda value: f"set({_sorted_texts(value)})",
    frozenset: lambda value: f"frozenset({_sorted_texts(value)})",
    dict: _text_of_dict,
    datetime: lambda value: f"datetime({moment_text(value)})",
    date: lambda value: f"date({value.isoformat()})",
    time: lambda value: f"time({moment_text(value)})",
    timedelta: lambda value: f"timedelta({value.days}d{value.seconds}s{value.microseconds}us)",
    Decimal: lambda value: f"Decimal({value})",
    UUID: lambda value: f"UUID({value})",
}


def _refusal(value: object) -> str:
    return (
        f"an argument of type {type(value).__qualname__} has no canonical form. Pass plain data, a dataclass, a Struct "
        "or an Enum; or leave the argument out of the key with ignore=(...,) and give it a default."
    )
