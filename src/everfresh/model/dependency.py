"""Dependencies: partial descriptions of events. Users reach them as the module `everfresh.dep`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, assert_never, cast

import msgspec

from everfresh.model.conditions import Argument, arg, check_equal_operand, operands_of, value_filled
from everfresh.model.errors import InvalidDependency

__all__ = [
    "Argument",
    "Call",
    "Dependency",
    "Id",
    "Scope",
    "Tag",
    "Topic",
    "Undescribed",
    "arg",
    "arguments_of",
    "check_dependencies",
    "filled",
]

_WORD = r"(?:[^\s.*#\ud800-\udfff]+|\*|#)"
_PATTERN = re.compile(rf"{_WORD}(?:\.{_WORD})*")


class Topic(msgspec.Struct, frozen=True):
    """Touched by each event whose topic matches `pattern` and whose body has the fields of `where`.

    In the pattern `*` stands for one word and `#` for any number. A field is a dotted path into the body; a path that
    meets a list reads every element. Its value in `where` is what it must equal, or a condition such as `dep.lt(7)`.

    Raises:
        InvalidDependency: the pattern is malformed, or `where` cannot be met by any event.
    """

    pattern: str
    where: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not _is_pattern(self.pattern):
            msg = f"dep.Topic: {self.pattern!r} is no pattern. Use dotted words, '*' for one word, '#' for any number."
            raise InvalidDependency(msg)
        _check_where("dep.Topic", "the event's body", self.where)


class Id(msgspec.Struct, frozen=True):
    """Touched when the object `id` of `type` changes; with `watch`, only when one of those fields does.

    Raises:
        InvalidDependency: the type is empty, or `watch` is one text.
    """

    type: str
    id: Any
    watch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name("dep.Id", self.type)
        _check_watch("dep.Id", self.watch)


class Scope(msgspec.Struct, frozen=True):
    """Touched when the list of the `type` objects with these fields gains or loses a member; without `where`, all.

    With `watch`, a change of one of those fields of a member touches too. With the mode `any`, each event of a
    member does. A field is a dotted path into the row's images; lists are read element by element.

    Raises:
        InvalidDependency: the type is empty, `where` cannot be met, `watch` is one text, there is no such mode, or
            `watch` is given with the mode `any`.
    """

    type: str
    where: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    watch: tuple[str, ...] = ()
    mode: Literal["membership", "any"] = "membership"

    def __post_init__(self) -> None:
        _check_name("dep.Scope", self.type)
        _check_where("dep.Scope", "the row", self.where)
        _check_watch("dep.Scope", self.watch)
        if self.mode not in ("membership", "any"):
            raise InvalidDependency(f"dep.Scope: {self.mode!r} is no mode. Use 'membership' or 'any'.")
        if self.watch and self.mode == "any":
            msg = (
                f"dep.Scope: with mode='any' each event of a member touches, so watch={self.watch!r} says nothing. "
                "Leave one of them out."
            )
            raise InvalidDependency(msg)


class Undescribed(msgspec.Struct, frozen=True):
    """What `Scopes.condition` gives for a list that no description covers: nobody can tell who enters or leaves it."""

    type: str
    names: tuple[str, ...]


class Tag(msgspec.Struct, frozen=True):
    """Touched when somebody invalidates the name.

    Raises:
        InvalidDependency: the name is empty.
    """

    name: Any

    def __post_init__(self) -> None:
        if self.name in (None, ""):
            msg = "dep.Tag: the name is empty. Give it one."
            raise InvalidDependency(msg)


class Call(msgspec.Struct, frozen=True):
    """Touched when the value of the entry `key` changes; added by itself when cached functions call each other."""

    key: str


Dependency = Topic | Id | Scope | Tag | Call | Undescribed


def filled(dependency: Dependency, arguments: Mapping[str, Any]) -> Dependency:
    """The dependency with the call's arguments in the places of `dep.arg`.

    Raises:
        InvalidDependency: an argument's value cannot stand in its place.
    """
    match dependency:
        case Topic(pattern=pattern, where=where):
            return Topic(pattern, _where_filled(where, arguments))
        case Scope(type=type_, where=where, watch=watch, mode=mode):
            return Scope(type_, _where_filled(where, arguments), watch, mode)
        case Id(type=type_, id=id_, watch=watch):
            return Id(type_, value_filled(id_, arguments), watch)
        case Tag(name=name):
            return Tag(value_filled(name, arguments))
        case Call() | Undescribed():
            return dependency
        case _:
            assert_never(dependency)


def arguments_of(dependency: Dependency) -> list[Argument]:
    """Each place of the dependency that takes an argument of the call."""
    match dependency:
        case Topic(where=where) | Scope(where=where):
            values = list(where.values())
        case Id(id=value) | Tag(name=value):
            values = [value]
        case Call() | Undescribed():
            values = []
        case _:
            assert_never(dependency)
    return [part for value in values for part in operands_of(value) if isinstance(part, Argument)]


def _where_filled(where: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value_filled(value, arguments) for field, value in where.items()}


def check_dependencies(dependencies: object) -> tuple[Dependency, ...]:
    """The same dependencies, once each is seen to be one.

    Raises:
        InvalidDependency: something else is among them.
    """
    if isinstance(dependencies, Dependency) or not isinstance(dependencies, Iterable):
        msg = f"dependency: {dependencies!r} is no list. Write [dep.Tag(...), ...]."
        raise InvalidDependency(msg)
    checked: list[Dependency] = []
    for dependency in cast("Iterable[object]", dependencies):
        if not isinstance(dependency, Dependency):
            msg = f"dependency: {dependency!r} is none. Use dep.Topic, dep.Id, dep.Scope, dep.Tag or dep.Call."
            raise InvalidDependency(msg)
        checked.append(dependency)
    return tuple(checked)


def _check_where(what: str, place: str, where: object) -> None:
    if not isinstance(where, Mapping):
        msg = f"{what}: where is {where!r}. Use a mapping of field paths to values."
        raise InvalidDependency(msg)
    for field, value in cast("Mapping[object, object]", where).items():
        if not isinstance(field, str) or not field:
            msg = f"{what}: {field!r} is no field. Use a dotted path into {place}, for example 'bug.id'."
            raise InvalidDependency(msg)
        check_equal_operand(f"{what}: the field {field!r}", value)


def _check_watch(what: str, watch: object) -> None:
    if isinstance(watch, str):
        # It would be read as its letters, and no event changes those.
        msg = f"{what}: watch is the text {watch!r}. Give field names: watch=({watch!r},)."
        raise InvalidDependency(msg)


def _is_pattern(pattern: object) -> bool:
    return isinstance(pattern, str) and _PATTERN.fullmatch(pattern) is not None


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = f"{what}: {name!r} is no type. Give the name of what changes, for example 'article'."
        raise InvalidDependency(msg)
