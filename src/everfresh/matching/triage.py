"""Triage: from events to what they touch.

The cost follows the number of shapes that an event meets, never the number of entries. What cannot be answered touches
the whole shape (widening), or every candidate of a filter: a needless rebuild costs little, a missed one is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import assert_never

import msgspec

from everfresh.matching.canonical import NULL, canonical_text
from everfresh.matching.index import Known, ShapeIndex
from everfresh.matching.probes import Probe
from everfresh.matching.reading import (
    MAX_PRODUCT,
    TOO_MANY,
    RowView,
    Texts,
    Unknown,
    compared_in_event,
    texts_in_event,
)
from everfresh.matching.shapes import (
    Bucket,
    ShapeId,
    Values,
    bucket_in,
    bucket_of,
    readable,
    shape_and_values,
    shapes_to_register,
    writings_of,
)
from everfresh.model import dependency as dep
from everfresh.model.event import CHANGES, Event

__all__ = [
    "MAX_PRODUCT",
    "Probe",
    "ShapeIndex",
    "Touched",
    "Widening",
    "shapes_to_register",
    "touched_by_events",
    "touched_by_name",
]

_ID_FIELD = "id"
_ANYTHING = "the event says that anything may have changed"


class Widening(msgspec.Struct, frozen=True):
    """A shape that an event had to touch as a whole, and why, for people to read."""

    shape: str
    reason: str
    event: int


class Touched(msgspec.Struct, frozen=True):
    """What events touch. Each number is that of the last event, from 0, that touches the bucket or the whole shape.

    `probes` decide about the candidates of filtered shapes. `predicates` are the buckets of functions that judge
    events themselves, with the numbers of all events that they have to be asked about.
    """

    buckets: dict[Bucket, int] = msgspec.field(default_factory=dict[Bucket, int])
    shapes: dict[ShapeId, int] = msgspec.field(default_factory=dict[ShapeId, int])
    probes: tuple[Probe, ...] = ()
    predicates: dict[Bucket, tuple[int, ...]] = msgspec.field(default_factory=dict[Bucket, tuple[int, ...]])
    widened: tuple[Widening, ...] = ()


class _Finding(msgspec.Struct):
    """What was found so far."""

    buckets: dict[Bucket, int] = {}
    shapes: dict[ShapeId, int] = {}
    probes: list[Probe] = []
    predicates: dict[Bucket, tuple[int, ...]] = {}
    widened: dict[ShapeId, Widening] = {}

    def widen(self, known: Known, reason: str, number: int) -> None:
        self.shapes[known.id] = number
        self.widened[known.id] = Widening(readable(known.shape), reason, number)

    def done(self) -> Touched:
        return Touched(self.buckets, self.shapes, tuple(self.probes), self.predicates, tuple(self.widened.values()))


def touched_by_events(events: Iterable[Event], index: ShapeIndex) -> Touched:
    """What the events touch, over all shapes of the index."""
    found = _Finding()
    for number, event in enumerate(events):
        row = event.row
        view = None if row is None else RowView(row)
        if row is None or row.described is None:
            for known in _of_topics(event, index):
                try:
                    _look_at_topic(known, event, view, number, found)
                except Exception as error:  # noqa: BLE001 - whatever a body does when it is read, it is touched
                    found.widen(known, f"reading the event raised {type(error).__name__}", number)
        if row is not None and view is not None:
            for known in index.of_type(row.type):
                try:
                    _look_at_row(known, view, number, found)
                except Exception as error:  # noqa: BLE001 - as above
                    found.widen(known, f"reading the event raised {type(error).__name__}", number)
    return found.done()


def _of_topics(event: Event, index: ShapeIndex) -> Iterable[Known]:
    row = event.row
    if row is None or not row.unknown:
        return index.of_topic(event.topic)
    # Any of these may have happened.
    topics = (event.topic, *(f"{row.type}.{change}" for change in CHANGES))
    return dict.fromkeys(known for topic in topics for known in index.of_topic(topic))


def touched_by_name(dependencies: Iterable[dep.Dependency], index: ShapeIndex) -> Touched:
    """What somebody touches who names dependencies: an object or a list is touched whatever is watched of it.

    A list that is not described touches all lists of its type.

    Raises:
        InvalidDependency: a value has no canonical text.
    """
    found = _Finding()
    for number, dependency in enumerate(dependencies):
        shape, values = shape_and_values(dependency)
        for written in writings_of(shape):
            found.buckets[bucket_in(written, values)] = number
        match dependency:
            case dep.Id(type=type_) | dep.Scope(type=type_):
                for other in index.of_type(type_):
                    if other.is_like(shape):
                        found.buckets[bucket_in(other.shape, values)] = number
            case dep.Undescribed(type=type_):
                for other in index.of_type(type_):
                    if other.is_scope:
                        found.widen(other, "a list was named that is not described", number)
            case dep.Topic() | dep.Tag() | dep.Call():
                pass
            case _:
                assert_never(dependency)
    return found.done()


def _look_at_topic(known: Known, event: Event, view: RowView | None, number: int, found: _Finding) -> None:
    if event.row is not None and event.row.unknown:
        # A predicate would be asked about a body that says nothing.
        found.widen(known, _ANYTHING, number)
        return
    if known.is_predicate:
        bucket = known.bucket
        found.predicates[bucket] = (*found.predicates.get(bucket, ()), number)
        return
    alternatives: list[Texts] = []
    for field in known.fields:
        texts = texts_in_event(event, view, field)
        if isinstance(texts, Unknown):
            found.widen(known, texts.reason, number)
            return
        # What is not there may count as null, here as under `is_null`.
        alternatives.append(texts or (NULL,))
    combinations = _combined(alternatives)
    if combinations is None:
        found.widen(known, TOO_MANY.reason, number)
    elif not known.filters:
        for values in combinations:
            found.buckets[bucket_of(known.id, values)] = number
    else:
        image = compared_in_event(event, view, known.filters)
        for values in combinations:
            stem = bucket_of(known.id, values)
            found.probes.append(Probe(stem, number, known.operators, None, image, is_any=True))


def _combined(alternatives: list[Texts]) -> Sequence[Values] | None:
    """Every way to take one text of each; None when there are too many."""
    if len(alternatives) == 1:
        return [(text,) for text in alternatives[0]]
    if prod(map(len, alternatives)) > MAX_PRODUCT:
        return None
    return list(product(*alternatives))


def _look_at_row(known: Known, view: RowView, number: int, found: _Finding) -> None:
    described = view.row.described
    if known.is_scope:
        if described is None or view.row.unknown or known.names <= described:
            _look_at_scope(known, view, number, found)
    elif described is None:
        _look_at_id(known, view, number, found)


def _look_at_id(known: Known, view: RowView, number: int, found: _Finding) -> None:
    """The object of either image is touched: a row may get another id."""
    if view.is_unknown:
        found.widen(known, _ANYTHING, number)
        return
    if known.watch and view.leaves_alone(known.watch):
        return
    row = view.row
    # Before and after it is nearly always the same id.
    ids: set[str] = set()
    for image in (row.before, row.after):
        if image is not None and _ID_FIELD in image:
            ids.add(canonical_text(image[_ID_FIELD]))
    # A row whose id is null has got none yet.
    ids.discard(NULL)
    if not ids:
        found.widen(known, "the event carries no id", number)
    elif len(ids) == 1 and not view.is_id_known():
        found.widen(known, "the event carries one of two ids", number)
    for id_ in ids:
        found.buckets[bucket_of(known.id, (id_,))] = number


def _look_at_scope(known: Known, view: RowView, number: int, found: _Finding) -> None:
    if view.is_unknown:
        found.widen(known, _ANYTHING, number)
        return
    if not known.is_any and view.leaves_alone(known.looked_at):
        return
    lists = _lists_of(known, view)
    if isinstance(lists, Unknown):
        found.widen(known, lists.reason, number)
        return
    before, after = lists
    is_any = known.is_any or (bool(known.watch) and view.may_differ(known.watch))
    is_any = is_any or view.is_another()
    if known.together and not is_any:
        is_any = any(view.may_regroup(place, paths) for place, paths in known.together)
    both = before & after
    doubtful = both and _in_doubt(known, view, both)
    if known.filters:
        model = Probe(Bucket(b""), number, known.operators, None, None, is_any)
        _probe(known, view, (before, after, doubtful), model, found)
        return
    for values in (before | after) if is_any else (before ^ after) | doubtful:
        found.buckets[bucket_of(known.id, values)] = number


def _in_doubt(known: Known, view: RowView, both: set[Values]) -> set[Values]:
    """The lists in which the row stood and stands by the texts of its values, where these hide that they changed."""
    doubts = [view.doubts(field) for field in known.fields]
    if not any(doubts):
        return set()
    return {values for values in both if any(text in texts for text, texts in zip(values, doubts, strict=True))}


def _lists_of(known: Known, view: RowView) -> tuple[set[Values], set[Values]] | Unknown:
    """The values of the lists in which the row stood, and in which it stands."""
    texts = [view.texts(field) for field in known.fields]
    lists: list[set[Values]] = []
    for which, is_absent in ((0, view.is_created), (1, view.is_deleted)):
        alternatives: list[Texts] = []
        for pair in () if is_absent else texts:
            one = pair[which]
            if isinstance(one, Unknown):
                return one
            # Whether a list without elements counts as null, databases and Python do not agree.
            alternatives.append(one or (NULL,))
        combinations = () if is_absent else _combined(alternatives)
        if combinations is None:
            return TOO_MANY
        lists.append(set(combinations))
    return lists[0], lists[1]


def _probe(known: Known, view: RowView, lists: tuple[set[Values], ...], model: Probe, found: _Finding) -> None:
    """Probe the stems of the lists before, after and in doubt; `model` has all but the stem and the images."""
    before, after, doubtful = lists
    old, new = view.compared(known.filters)
    steady = tuple(view.is_same(path) for path, _ in known.filters)
    is_moved = not model.is_any and all(steady)
    for values in (before ^ after) | doubtful if is_moved else before | after:
        found.probes.append(
            msgspec.structs.replace(
                model,
                stem=bucket_of(known.id, values),
                before=old if values in before else None,
                after=new if values in after else None,
                is_any=model.is_any or values in doubtful,
                steady=steady,
            )
        )
