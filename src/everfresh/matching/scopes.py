"""Scopes: lists whose conditions are on values derived from an object, and which of them a change of it touches.

    scopes = Scopes("book")

    @scopes.describes("category", "published", watch=("category", "status"))
    def listed(book): return {"category": book.category, "published": book.status == "out"}

A description says in which lists an object stands: the mapping is an image of it, so entering, leaving and moving are
found as they are for rows. What it cannot know is unknown, and touches too much rather than too little.
"""

from __future__ import annotations

import copy
import inspect
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from everfresh.matching.canonical import canonical_text
from everfresh.matching.paths import is_named
from everfresh.matching.sameness import is_same
from everfresh.model import dependency as dep
from everfresh.model.errors import InvalidDependency, InvalidEvent
from everfresh.model.event import Event, Row

_log = logging.getLogger("everfresh.scopes")

F = TypeVar("F", bound=Callable[[Any], object])
T_co = TypeVar("T_co", covariant=True)
Image = Mapping[str, Any]


class Publisher(Protocol[T_co]):
    """A cache, or `cache.blocking`: whatever `publish` answers is passed on."""

    @property
    def production_mode(self) -> bool:
        """Whether a broken description warns and touches every list, instead of raising."""
        ...

    def publish(self, *events: Event) -> T_co:
        """Apply the events."""
        ...


class _Images(NamedTuple):
    """What a description gave; `is_one` when it gave one mapping, and no list of them."""

    all: list[Image]
    is_one: bool


class _Description:
    """An extractor, the names of what it gives, and the object's fields that this derives from."""

    __slots__ = ("extract", "is_derived", "names", "watch")

    def __init__(self, names: frozenset[str], watch: frozenset[str] | None, extract: Callable[[Any], object]) -> None:
        self.names = names
        self.watch = names if watch is None else watch
        self.is_derived = watch is not None
        self.extract = extract

    def images_of(self, obj: object) -> _Images | None:
        """The object's values, once for each way in which it is listed; None when it is to be ignored."""
        given = self.extract(obj)
        if given is None:
            return None
        if isinstance(given, list | tuple):
            return _Images([self._checked(image) for image in cast("Sequence[object]", given)], is_one=False)
        return _Images([self._checked(given)], is_one=True)

    def _checked(self, image: object) -> Image:
        kind = type(image).__name__
        checked = dict(cast("Mapping[str, Any]", image)) if isinstance(image, Mapping) else None
        if checked is None or checked.keys() != self.names:
            msg = f"it returned {kind}, not a mapping with exactly the names {sorted(self.names)}"
            raise InvalidDependency(msg)
        for value in checked.values():
            canonical_text(value)
        # With the lists in it: the object may be changed before the event is published.
        return copy.deepcopy(checked)


class Scopes:
    """The lists of one type of objects, described by the values that decide who stands in them.

    Args:
        type: the type's name, or a class, which stands for its name.

    Raises:
        InvalidDependency: it is neither.
    """

    def __init__(self, type: str | type[object]) -> None:  # noqa: A002 - the public word for it
        name = type if isinstance(type, str) else getattr(type, "__name__", None)
        self._whole = dep.Scope(cast("str", name))
        try:
            # Refused here, and not when the first object changes.
            Event.unknown(self.type)
        except InvalidEvent as error:
            msg = f"Scopes: {name!r} is no type, as it fits into no topic. Use one word without spaces, '*' or '#'."
            raise InvalidDependency(msg) from error
        self._descriptions: list[_Description] = []

    @property
    def type(self) -> str:
        """The name of the type."""
        return self._whole.type

    def describes(self, *names: str, watch: Iterable[str] | None = None) -> Callable[[F], F]:
        """Register a function that gives an object's values: a mapping with exactly these names.

        It returns a list of such mappings for an object that stands in several lists, an empty one for an object that
        is in none by now, and None for one that is never listed and to be ignored.

        Args:
            names: what lists can be conditioned on, together.
            watch: the object's fields that the values derive from; those of the same names, when left out.

        Raises:
            InvalidDependency: a name is no text, or is `watch`; `watch` is one text; the function is `async`.
        """
        for name in names:
            if not isinstance(cast("object", name), str) or name in ("", "watch"):
                msg = f"Scopes({self.type!r}): {name!r} is no name for a value. Use a text other than 'watch'."
                raise InvalidDependency(msg)
        if isinstance(watch, str):
            msg = f"Scopes({self.type!r}): watch is the text {watch!r}. Give field names: watch=({watch!r},)."
            raise InvalidDependency(msg)
        watched = None if watch is None else frozenset(watch)

        def register(extract: F) -> F:
            if inspect.iscoroutinefunction(extract):
                msg = f"Scopes({self.type!r}): {_name_of(extract)} is async. Use a function that returns at once."
                raise InvalidDependency(msg)
            self._descriptions.append(_Description(frozenset(names), watched, extract))
            return extract

        return register

    def condition(self, *, watch: Iterable[str] = (), **where: object) -> dep.Scope | dep.Undescribed:
        """The list of the objects with these values; without values, the whole list.

        A value is plain, a condition such as `dep.lt(7)`, or `dep.arg`. When no description covers all the names
        nobody can tell who enters the list, and what is given says so to the cache.

        Raises:
            InvalidDependency: a value that no object can have; `watch` is one text.
        """
        scope = dep.Scope(self.type, where, cast("tuple[str, ...]", watch) if isinstance(watch, str) else tuple(watch))
        if not where or any(where.keys() <= description.names for description in self._descriptions):
            return scope
        return dep.Undescribed(self.type, tuple(sorted(where)))

    def invalidate_for(
        self,
        obj: object,
        cache: Publisher[T_co],
        modified: Iterable[str] | None = None,
        previous: object | None = None,
    ) -> T_co:
        """Touch the lists that the object enters, leaves, or shows another watched field in.

        Args:
            obj: the object as it is, or as it was before it was deleted.
            cache: the cache, or `cache.blocking`; what its `publish` gives back is given back.
            modified: which of its fields changed; the others count as unchanged. None: it was created or deleted, or
                changed in a way that nobody knows, and its present lists and the whole list are touched.
            previous: the object as it was. With it exactly the lists that it left and entered are touched; without it
                what changed is unknown as it was, and touches all lists with a condition on it.

        Raises:
            InvalidDependency: a description raised, or returned something else than it should. In production mode
                this is a warning, and every list of the type is touched.
        """
        if isinstance(modified, str):
            msg = f"Scopes({self.type!r}): modified is the text {modified!r}. Give field names: {{{modified!r}}}."
            raise InvalidDependency(msg)
        fields = None if modified is None else frozenset(modified)
        if fields is not None and not fields:
            return cache.publish()
        rows: list[Row] = []
        for description in self._descriptions or [_ANY_OBJECT]:
            try:
                rows.extend(_rows(self.type, description, (obj, previous), fields))
            except Exception as error:
                msg = f"Scopes({self.type!r}): {_name_of(description.extract)} failed for an object: {error!r}."
                if not cache.production_mode:
                    msg = f"{msg} Return a mapping with the names that it describes, a list of them, or None."
                    raise InvalidDependency(msg) from error
                warnings.warn(f"{msg} Every list of the type is touched.", RuntimeWarning, stacklevel=2)
                _log.warning("scopes.failed %s", {"type": self.type, "error": repr(error)}, exc_info=error)
                rows = [Row(self.type, unknown=True, described=frozenset())]
                break
        return cache.publish(*(Event(f"{self.type}.lists", row=row) for row in rows))


# Without a description there is the whole list, and nothing in it.
_ANY_OBJECT = _Description(frozenset(), None, lambda _obj: {})


def _rows(
    type_: str, description: _Description, objects: tuple[object, object | None], modified: frozenset[str] | None
) -> Iterator[Row]:
    """What one description says of the object and of what it was, as row events."""
    obj, previous = objects
    names = description.names
    if modified is not None and description.watch and not any(is_named(path, modified) for path in description.watch):
        # Nobody asks where it stands: those who watch one of these fields are all meant.
        yield Row(type_, {}, {}, modified, described=names)
        return
    images = description.images_of(obj)
    if previous is not None:
        before = description.images_of(previous)
        yield from _moved(type_, names, (before.all if before else [], images.all if images else []), modified)
        return
    for image in images.all if images else ():
        # It may have come into the lists of these values from nowhere, even if they did not change.
        yield Row(type_, None, image, described=names)
    if images is not None and modified is not None:
        yield from _left(type_, description, images, modified)


def _left(type_: str, description: _Description, images: _Images, modified: frozenset[str]) -> Iterator[Row]:
    """What is to be said of the lists in which the object stood, when nobody knows how it was."""
    names = description.names
    if not images.all:
        yield Row(type_, {}, None, described=frozenset())
    # What derives from several fields may have changed whenever one of them did; so may what is listed several times.
    is_known = images.is_one and not description.is_derived
    changed = frozenset(name for name in names if is_named(name, modified)) if is_known else names
    for image in images.all or [dict[str, Any]()]:
        before = {name: value for name, value in image.items() if name not in changed}
        yield Row(type_, before, image, modified | changed, described=names)


def _moved(
    type_: str, names: frozenset[str], images: tuple[list[Image], list[Image]], modified: frozenset[str] | None
) -> Iterator[Row]:
    """The object stood where the first images say, and stands where the second ones say."""
    before, after = images
    stays = [image for image in before if _stands_in(image, after)]
    left = [image for image in before if not _stands_in(image, after)]
    entered = [image for image in after if not _stands_in(image, before)]
    pairs: list[tuple[Image | None, Image | None]] = [(image, image) for image in stays]
    pairs.extend(zip_longest(left, entered))
    for old, new in pairs:
        if old is None or new is None or modified is None:
            yield Row(type_, old, new, described=names)
        else:
            differing = {name for name in names if not is_same(old[name], new[name])}
            yield Row(type_, old, new, modified | differing, described=names)


def _stands_in(image: Image, images: list[Image]) -> bool:
    return any(all(is_same(image[name], other[name]) for name in image) for other in images)


def _name_of(function: object) -> str:
    return getattr(function, "__qualname__", repr(function))
