"""Kinds of dependency: `dep.Topic`, `dep.Id`, `dep.Scope`, `dep.Tag`, `dep.Call`.

Beside them the conditions of `where`, `dep.arg` for the arguments of a call, and `dep.Scopes` for derived values.
"""

from everfresh.matching.scopes import Scopes
from everfresh.model.conditions import (
    Condition,
    between,
    ge,
    gt,
    is_null,
    le,
    lt,
    not_,
    one_of,
    startswith,
)
from everfresh.model.dependency import Call, Dependency, Id, Scope, Tag, Topic, Undescribed, arg

__all__ = [
    "Call",
    "Condition",
    "Dependency",
    "Id",
    "Scope",
    "Scopes",
    "Tag",
    "Topic",
    "Undescribed",
    "arg",
    "between",
    "ge",
    "gt",
    "is_null",
    "le",
    "lt",
    "not_",
    "one_of",
    "startswith",
]
