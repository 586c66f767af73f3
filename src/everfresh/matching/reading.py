"""What an event says of a field: the texts of its values, or that and why it is unknown.

A row event is read once for all shapes that look at it: `RowView` keeps what it has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from everfresh.matching.canonical import canonical_text
from everfresh.matching.comparing import TextOf, text_of_for
from everfresh.matching.paths import ABSENT, known_values_at, values_at
from everfresh.model.errors import InvalidDependency
from everfresh.model.event import Row

# Several lists in one event multiply; beyond this the shape is widened.
MAX_PRODUCT = 1_000
# What each candidate of a filter is compared with; a field that holds more is unknown to it.
_MAX_COMPARED = 100
_MAX_COMPARED_CHARS = 10_000

Texts = tuple[str, ...]


class Unknown:
    """The event does not say what a field holds, in a way that can be compared."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


TOO_MANY = Unknown(f"over {MAX_PRODUCT:,} combinations")
_NO_BEFORE = Unknown("the event carries no before image")
_NO_AFTER = Unknown("the event carries no after image")


def texts_in_body(body: Mapping[str, Any], path: str, text_of: TextOf = canonical_text) -> Texts | Unknown:
    """The texts of the values at the path; none when it is absent."""
    found = values_at(body, path, n_max=MAX_PRODUCT)
    return TOO_MANY if found is None else _texts(found, path, text_of)


def compared_in_body(body: Mapping[str, Any], filters: Iterable[tuple[str, str]]) -> tuple[Texts | None, ...]:
    """For each filter the texts that it is compared with; None when they are unknown."""
    return tuple(_compared(texts_in_body(body, path, text_of_for(operator))) for path, operator in filters)


def _texts(values: list[Any], path: str, text_of: TextOf) -> Texts | Unknown:
    try:
        if len(values) == 1:
            return (text_of(values[0]),)
        return tuple(dict.fromkeys(map(text_of, values)))
    except InvalidDependency:
        return Unknown(f"the field {path!r} cannot be compared")


def _compared(texts: Texts | Unknown) -> Texts | None:
    if isinstance(texts, Unknown) or len(texts) > _MAX_COMPARED or sum(map(len, texts)) > _MAX_COMPARED_CHARS:
        return None
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: a store could not keep it.
        return None
    return texts


class RowView:
    """The images of one row event; with `changed`, what one image leaves out is read from the other."""

    __slots__ = ("_changed", "_read", "_roots", "is_created", "is_deleted", "is_unknown", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        is_update = row.changed is not None
        self.is_created = not is_update and row.before is None
        self.is_deleted = not is_update and row.after is None
        self.is_unknown = row.unknown or (self.is_created and self.is_deleted)
        self._changed = row.changed
        self._roots: frozenset[str] | None = None
        self._read: dict[tuple[str, TextOf], tuple[Texts | Unknown, Texts | Unknown]] = {}

    def texts(self, path: str, text_of: TextOf = canonical_text) -> tuple[Texts | Unknown, Texts | Unknown]:
        """The texts of a field before and after."""
        found = self._read.get((path, text_of))
        if found is None:
            before = _texts_in_image(self.row.before, path, text_of, _NO_BEFORE)
            after = _texts_in_image(self.row.after, path, text_of, _NO_AFTER)
            if self._changed is not None and not self.says_changed(path):
                before, after = (
                    (after if isinstance(before, Unknown) else before),
                    (before if isinstance(after, Unknown) else after),
                )
            found = self._read[path, text_of] = (before, after)
        return found

    def compared(self, filters: Iterable[tuple[str, str]]) -> list[tuple[Texts | None, ...]]:
        """For each filter the texts that it is compared with, before and after; None when they are unknown."""
        pairs = [self.texts(path, text_of_for(operator)) for path, operator in filters]
        return [tuple(_compared(pair[which]) for pair in pairs) for which in (0, 1)]

    def says_changed(self, path: str) -> bool:
        """Whether the event names the field, something inside it, or what it stands in, as changed."""
        changed = self._changed or frozenset()
        if path in changed:
            return True
        if self._roots is None:
            self._roots = frozenset(name.partition(".")[0] for name in changed)
        if path.partition(".")[0] not in self._roots:
            return False
        return any(path.startswith(f"{name}.") or name.startswith(f"{path}.") for name in changed)

    def may_leave_alone(self, paths: Iterable[str]) -> bool:
        """Whether the event names what changed, and nothing of these is among it."""
        return self._changed is not None and not any(map(self.says_changed, paths))

    def may_differ(self, paths: Iterable[str]) -> bool:
        """Whether the event may change any of the fields."""
        if self._changed is not None:
            return any(map(self.says_changed, paths))
        before, after = self.row.before, self.row.after
        return before is None or after is None or any(_differs(before, after, path) for path in paths)


def _texts_in_image(image: Mapping[str, Any] | None, path: str, text_of: TextOf, no_image: Unknown) -> Texts | Unknown:
    # An empty image says as little as none.
    if not image:
        return no_image
    found = known_values_at(image, path, n_max=MAX_PRODUCT)
    if isinstance(found, list):
        return _texts(found, path, text_of)
    return TOO_MANY if found is None else Unknown(f"the field {path!r} is unknown")


def _differs(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> bool:
    old, new = _value_at(before, path), _value_at(after, path)
    if old is ABSENT or new is ABSENT:
        return True
    if old == new:
        return False
    try:
        return canonical_text(old) != canonical_text(new)
    except InvalidDependency:
        return True


def _value_at(image: Mapping[str, Any], path: str) -> object:
    """The whole value of a field; ABSENT when the image does not say."""
    value = image.get(path, ABSENT)
    if value is not ABSENT or "." not in path:
        return value
    found = known_values_at(image, path, n_max=MAX_PRODUCT)
    return ABSENT if found is None else found
