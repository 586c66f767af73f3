"""What an event says of a field: the texts of its values, or that and why it is unknown.

A row event is read once for all shapes that look at it: `RowView` keeps what it has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from everfresh.matching.canonical import canonical_text
from everfresh.matching.comparing import TextOf, compares_equal, doubted, text_of_for
from everfresh.matching.paths import is_named, known_values_at, leads_through_list, values_at, whole_at
from everfresh.matching.sameness import are_same, texts_in_doubt
from everfresh.model.errors import InvalidDependency
from everfresh.model.event import Event, Row

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
_NO_CHANGED = Unknown("the event does not name what changed")
_ID_FIELD = "id"
_CHANGED = "changed"


def texts_in_body(body: Mapping[str, Any], path: str, text_of: TextOf = canonical_text) -> Texts | Unknown:
    """The texts of the values at the path; none when it is absent."""
    found = values_at(body, path, n_max=MAX_PRODUCT)
    return TOO_MANY if found is None else _texts(found, path, text_of)


def texts_in_event(event: Event, view: RowView | None, path: str, text_of: TextOf = canonical_text) -> Texts | Unknown:
    """The texts of the values at the path of the event's body; none when it is absent.

    What the body of a row event holds of its row is unknown where the row's images do not say.
    """
    found = texts_in_body(event.body, path, text_of)
    if view is None or isinstance(found, Unknown) or (found and path == _CHANGED):
        return found
    said = view.texts_in_images(path, text_of)
    return said if isinstance(said, Unknown) else tuple(dict.fromkeys((*found, *said)))


def compared_in_event(
    event: Event, view: RowView | None, filters: Iterable[tuple[str, str]]
) -> tuple[Texts | None, ...]:
    """For each filter the texts that it is compared with; None when they are unknown."""
    return tuple(_compared(texts_in_event(event, view, path, text_of_for(operator))) for path, operator in filters)


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

    __slots__ = ("_changed", "_read", "_roots", "_same", "is_created", "is_deleted", "is_unknown", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        is_update = row.changed is not None
        self.is_created = not is_update and row.before is None
        self.is_deleted = not is_update and row.after is None
        self.is_unknown = row.unknown or (self.is_created and self.is_deleted)
        self._changed = row.changed
        self._roots: frozenset[str] | None = None
        self._read: dict[tuple[str, TextOf], tuple[Texts | Unknown, Texts | Unknown]] = {}
        self._same: dict[str, bool | None] = {}

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

    def texts_in_images(self, path: str, text_of: TextOf = canonical_text) -> Texts | Unknown:
        """The texts at a path of the body that begins with `before` or `after`; none where the row says nothing."""
        which, _, field = path.partition(".")
        if path == _CHANGED:
            return _NO_CHANGED if self._changed is None else ()
        if which not in ("before", "after"):
            return ()
        is_before = which == "before"
        image = self.row.before if is_before else self.row.after
        if image is None and not self.is_unknown and (self.is_created if is_before else self.is_deleted):
            return ()
        if field:
            return self.texts(field, text_of)[0 if is_before else 1]
        return () if image else (_NO_BEFORE if is_before else _NO_AFTER)

    def compared(self, filters: Iterable[tuple[str, str]]) -> list[tuple[Texts | None, ...]]:
        """For each filter the texts that it is compared with, before and after; None when they are unknown."""
        pairs = [self._compared_texts(path, operator) for path, operator in filters]
        return [tuple(_compared(pair[which]) for pair in pairs) for which in (0, 1)]

    def _compared_texts(self, path: str, operator: str) -> tuple[Texts | Unknown, Texts | Unknown]:
        before, after = self.texts(path, text_of_for(operator))
        if isinstance(before, Unknown) or isinstance(after, Unknown) or not (before and after):
            return before, after
        if not compares_equal(operator):
            return before, after
        doubts = self.doubts(path)
        return _doubted(before, doubts), _doubted(after, doubts)

    def doubts(self, path: str) -> frozenset[str]:
        """The texts of a field that may stand for another value before than after."""
        if self.is_same(path):
            return frozenset()
        images = [known_values_at(image or {}, path, n_max=MAX_PRODUCT) for image in (self.row.before, self.row.after)]
        before, after = (found if isinstance(found, list) else [] for found in images)
        return texts_in_doubt(before, after)

    def says_changed(self, path: str) -> bool:
        """Whether the event names the field, something inside it, or what it stands in, as changed."""
        changed = self._changed
        if not changed:
            return False
        if path in changed:
            return True
        if self._roots is None:
            self._roots = frozenset(name.partition(".")[0] for name in changed)
        if path.partition(".")[0] not in self._roots:
            return False
        return is_named(path, changed)

    def is_same(self, path: str) -> bool:
        """Whether the field has the same value before and after, whatever the event names as changed."""
        is_same = self._is_same_in_images(path)
        return (self._changed is not None and not self.says_changed(path)) if is_same is None else is_same

    def may_differ(self, paths: Iterable[str]) -> bool:
        """Whether the event may change any of the fields: it names it, or its images do not say that it is the same."""
        return any(map(self._may_differ, paths))

    def _may_differ(self, path: str) -> bool:
        return self.says_changed(path) or not self.is_same(path)

    def leaves_alone(self, paths: Iterable[str]) -> bool:
        """Whether there was, and is, one row, and none of these fields of it may differ."""
        is_update = not (self.is_created or self.is_deleted)
        return is_update and not self.is_another() and not self.may_differ(paths)

    def is_another(self) -> bool:
        """Whether the row got another id, so that all that has the one loses it and gains the other."""
        if self.is_created or self.is_deleted or self.row.described is not None or self._is_same_in_images(_ID_FIELD):
            return False
        return self._is_same_in_images(_ID_FIELD) is False or self.says_changed(_ID_FIELD)

    def is_id_known(self) -> bool:
        """Whether the event says all ids that the row had and has: an image, or that the id did not change."""
        return not self.says_changed(_ID_FIELD) or self._is_same_in_images(_ID_FIELD) is not None

    def may_regroup(self, place: str, paths: Iterable[str]) -> bool:
        """Whether the elements of a list at the place may have other values at several paths together."""
        images = (self.row.before, self.row.after)
        return not all(map(self.is_same, paths)) and any(leads_through_list(image, place) for image in images)

    def _is_same_in_images(self, path: str) -> bool | None:
        """None when an image does not say."""
        if path in self._same:
            return self._same[path]
        before, after = self.row.before, self.row.after
        is_same = None
        # An empty image says as little as none.
        if before and after:
            old, new = whole_at(before, path), whole_at(after, path)
            is_same = None if old is None or new is None else are_same(old, new)
        self._same[path] = is_same
        return is_same


def _texts_in_image(image: Mapping[str, Any] | None, path: str, text_of: TextOf, no_image: Unknown) -> Texts | Unknown:
    # An empty image says as little as none.
    if not image:
        return no_image
    found = known_values_at(image, path, n_max=MAX_PRODUCT)
    if isinstance(found, list):
        return _texts(found, path, text_of)
    return TOO_MANY if found is None else Unknown(f"the field {path!r} is unknown")


def _doubted(texts: Texts, doubts: frozenset[str]) -> Texts:
    return tuple(doubted(text) if text in doubts else text for text in texts) if doubts else texts
