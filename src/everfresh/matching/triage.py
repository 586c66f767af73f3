"""Triage: from one event to the buckets that it touches.

The cost follows the number of shapes that the topic meets, never the number of entries. What cannot be answered
touches the whole shape (widening): a needless rebuild costs little, a missed one is a bug.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any, assert_never

import msgspec

from everfresh.matching.canonical import canonical_text
from everfresh.matching.paths import ABSENT, field_of, values_at
from everfresh.matching.shapes import Bucket, Shape, ShapeId, ShapeKind, bucket_of, shape_and_values
from everfresh.matching.topics import TopicTrie
from everfresh.model import dependency as dep
from everfresh.model.errors import InvalidDependency
from everfresh.model.event import Event, Row

# Several lists in one event multiply; beyond this the shape is widened.
MAX_PRODUCT = 1_000
_ID_FIELD = "id"


class Touched(msgspec.Struct, frozen=True):
    """What events touch: buckets, and shapes that are touched as a whole."""

    buckets: frozenset[Bucket] = frozenset()
    shapes: frozenset[ShapeId] = frozenset()


class ShapeIndex:
    """The shapes that a store knows, in the order in which it learnt them; `generation` is their number.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._by_topic: TopicTrie[Shape] = TopicTrie()
        self._by_type: dict[str, tuple[Shape, ...]] = {}
        self._lock = threading.Lock()
        self._known: set[ShapeId] = set()
        self.generation = 0
        """How many shapes of the store's list were taken up."""

    def learn(self, start: int, shapes: Sequence[Shape]) -> None:
        """Take up the shapes that the store learnt from number `start` on; those already taken up are passed over."""
        with self._lock:
            for shape in shapes[self.generation - start :]:
                self._take_up(shape)
                # Last, so that whoever reads the generation can rely on all shapes below it.
                self.generation += 1

    def _take_up(self, shape: Shape) -> None:
        if shape.id in self._known:
            return
        self._known.add(shape.id)
        if shape.kind is ShapeKind.TOPIC:
            self._by_topic.add(shape.pattern, shape)
        elif shape.kind is ShapeKind.ID:
            self._by_type[shape.pattern] = (*self._by_type.get(shape.pattern, ()), shape)

    def of_topic(self, topic: str) -> tuple[Shape, ...]:
        """The shapes of topic dependencies whose pattern matches."""
        return self._by_topic.matching(topic)

    def of_type(self, type_: str) -> Sequence[Shape]:
        """The shapes of dependencies on objects of the type."""
        return self._by_type.get(type_, ())


def touched_by_events(events: Iterable[Event], index: ShapeIndex) -> Touched:
    """What the events touch, over all shapes of the index."""
    buckets: set[Bucket] = set()
    shapes: set[ShapeId] = set()
    for event in events:
        for shape in index.of_topic(event.topic):
            _collect(shape, _topic_values(shape, event), buckets, shapes)
        row = event.row
        if row is not None:
            for shape in index.of_type(row.type):
                if _is_watched(shape, row):
                    _collect(shape, _row_ids(row), buckets, shapes)
    return Touched(frozenset(buckets), frozenset(shapes))


def touched_by_name(dependencies: Iterable[dep.Dependency], index: ShapeIndex) -> Touched:
    """What somebody touches who names dependencies; an object by its id is touched whatever is watched of it."""
    buckets: set[Bucket] = set()
    for dependency in dependencies:
        shape, values = shape_and_values(dependency)
        buckets.add(bucket_of(shape.id, values))
        match dependency:
            case dep.Id(type=type_):
                buckets.update(bucket_of(other.id, values) for other in index.of_type(type_))
            case dep.Topic() | dep.Tag() | dep.Call():
                pass
            case _:
                assert_never(dependency)
    return Touched(frozenset(buckets))


def _collect(shape: Shape, values: Sequence[Sequence[Any]] | None, buckets: set[Bucket], shapes: set[ShapeId]) -> None:
    """Add the buckets of the values, or the whole shape when the values are unknown or too many."""
    if values is None or prod(map(len, values)) > MAX_PRODUCT:
        shapes.add(shape.id)
        return
    try:
        texts = [{canonical_text(value) for value in alternatives} for alternatives in values]
    except InvalidDependency:
        shapes.add(shape.id)
        return
    buckets.update(bucket_of(shape.id, combination) for combination in product(*texts))


def _topic_values(shape: Shape, event: Event) -> list[list[Any]] | None:
    """The values of the shape's fields; None when anything may have changed."""
    if event.row is not None and event.row.unknown:
        return None
    values: list[list[Any]] = []
    for field in shape.fields:
        found = values_at(event.body, field, n_max=MAX_PRODUCT)
        if found is None:
            return None
        values.append(found)
    return values


def _row_ids(row: Row) -> list[list[Any]] | None:
    """The ids of the row before and after; None when the event does not say."""
    if row.unknown:
        return None
    ids = [field_of(image, _ID_FIELD) for image in (row.before, row.after) if image is not None]
    known = [id_ for id_ in ids if id_ is not ABSENT]
    return [known] if known else None


def _is_watched(shape: Shape, row: Row) -> bool:
    """Whether the event may change one of the fields that the shape watches; all of them when it names none."""
    if not shape.watch or row.unknown:
        return True
    if row.changed is not None:
        return not row.changed.isdisjoint(shape.watch)
    if row.before is None or row.after is None:
        return True
    return any(_differs(row.before, row.after, name) for name in shape.watch)


def _differs(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> bool:
    old, new = field_of(before, name), field_of(after, name)
    return old is ABSENT or new is ABSENT or old != new


def shapes_to_register(shapes: Iterable[Shape]) -> Iterator[Shape]:
    """Those of the shapes that events reach through the index; tags and calls are reached by name."""
    return (shape for shape in shapes if shape.kind in (ShapeKind.TOPIC, ShapeKind.ID))
