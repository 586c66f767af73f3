"""Pydantic's adapters for annotations that mention its models; the core works without Pydantic."""

from __future__ import annotations

import sys
from typing import Any, get_args

import msgspec


def adapter_of(annotation: Any) -> Any:  # noqa: ANN401 - Pydantic's types are not there for everybody
    """The adapter when a model occurs in the annotation, else None."""
    if "pydantic" not in sys.modules or not _mentions_model(annotation):
        return None
    from pydantic import TypeAdapter  # noqa: PLC0415 - imported already by whoever wrote the model

    return TypeAdapter(annotation)


def dump(adapter: Any, value: object) -> object:  # noqa: ANN401 - as above
    """The value as plain data, by the names of its fields, without what is computed from them."""
    plain: object = adapter.dump_python(value, mode="json", by_alias=False, round_trip=True, warnings=False)
    return plain


def validate(adapter: Any, plain: object) -> Any:  # noqa: ANN401 - as above
    """The value of plain data. Read as JSON, so that a strict model takes a time from its text."""
    return adapter.validate_json(msgspec.json.encode(plain), by_alias=False, by_name=True)


def error_text(error: Exception) -> str:
    """What an error says, without the data that Pydantic would show."""
    details = getattr(error, "errors", None)
    if details is None or "pydantic" not in type(error).__module__:
        return str(error)
    found = details(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg']}" for one in found)


def _mentions_model(annotation: Any) -> bool:  # noqa: ANN401 - an annotation is any object
    if hasattr(annotation, "__pydantic_validator__") or hasattr(annotation, "__pydantic_core_schema__"):
        return True
    return any(map(_mentions_model, get_args(annotation)))
