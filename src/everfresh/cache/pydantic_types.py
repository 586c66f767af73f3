"""Pydantic's adapters for annotations that mention its models; the core works without Pydantic."""

from __future__ import annotations

import sys
from typing import Any, get_args


def adapter_of(annotation: Any) -> Any:  # noqa: ANN401 - Pydantic's types are not there for everybody
    """The adapter when a model occurs in the annotation, else None."""
    if "pydantic" not in sys.modules or not _mentions_model(annotation):
        return None
    from pydantic import TypeAdapter  # noqa: PLC0415 - imported already by whoever wrote the model

    return TypeAdapter(annotation)


def _mentions_model(annotation: Any) -> bool:  # noqa: ANN401 - an annotation is any object
    if hasattr(annotation, "__pydantic_validator__") or hasattr(annotation, "__pydantic_core_schema__"):
        return True
    return any(map(_mentions_model, get_args(annotation)))
