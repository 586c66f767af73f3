"""Dependencies: partial descriptions of events. Users reach them as the module `everfresh.dep`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from everfresh.model.errors import InvalidDependency

_WORD = r"(?:[^\s.*#\ud800-\udfff]+|\*|#)"
_PATTERN = re.compile(rf"{_WORD}(?:\.{_WORD})*")


class Argument(msgspec.Struct, frozen=True):
    """A place in a declared dependency that takes the value of one of the call's arguments."""

    name: str


def arg(name: str) -> Argument:
    """Stand for the argument `name` of the cached function, in `depends_on`."""
    return Argument(name)


class Topic(msgspec.Struct, frozen=True):
    """Touched by each event whose topic matches `pattern` and whose body has the fields of `where`.

    In the pattern `*` stands for one word and `#` for any number. A field is a dotted path into the body; a path that
    meets a list reads every element.

    Raises:
        InvalidDependency: the pattern is malformed, or `where` cannot be met by any event.
    """

    pattern: str
    where: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not _is_pattern(self.pattern):
            msg = f"dep.Topic: {self.pattern!r} is no pattern. Use dotted words, '*' for one word, '#' for any number."
            raise InvalidDependency(msg)
        _check_where(self.where)


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
        _check_watch(self.watch)


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


Dependency = Topic | Id | Tag | Call


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
            msg = f"dependency: {dependency!r} is none. Use dep.Topic, dep.Id, dep.Tag or dep.Call."
            raise InvalidDependency(msg)
        checked.append(dependency)
    return tuple(checked)


def _check_where(where: object) -> None:
    if not isinstance(where, Mapping):
        msg = f"dep.Topic: where is {where!r}. Use a mapping of field paths to values."
        raise InvalidDependency(msg)
    for field, value in cast("Mapping[object, object]", where).items():
        if not isinstance(field, str) or not field:
            msg = f"dep.Topic: {field!r} is no field. Use a dotted path into the event's body, for example 'bug.id'."
            raise InvalidDependency(msg)
        if isinstance(value, list | tuple):
            msg = (
                f"dep.Topic: the field {field!r} is to equal a list, and never will: of a list in an event each "
                "element is read by itself. Declare one dependency for each element."
            )
            raise InvalidDependency(msg)


def _check_watch(watch: object) -> None:
    if isinstance(watch, str):
        # It would be read as its letters, and no event changes those.
        msg = f"dep.Id: watch is the text {watch!r}. Give field names: watch=({watch!r},)."
        raise InvalidDependency(msg)


def _is_pattern(pattern: object) -> bool:
    return isinstance(pattern, str) and _PATTERN.fullmatch(pattern) is not None


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = f"{what}: {name!r} is no type. Give the name of what changes, for example 'article'."
        raise InvalidDependency(msg)
