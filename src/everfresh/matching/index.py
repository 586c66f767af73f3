"""The shapes that a store knows, filed so that an event finds those that it may touch."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import combinations, takewhile
from typing import NamedTuple

from everfresh.matching.comparing import roughly
from everfresh.matching.shapes import Shape, ShapeId, ShapeKind, bucket_of
from everfresh.matching.topics import TopicTrie


class Known:
    """A shape, and what is asked of it for every event."""

    __slots__ = (
        "bucket",
        "fields",
        "filters",
        "id",
        "is_any",
        "is_predicate",
        "is_scope",
        "looked_at",
        "names",
        "operators",
        "shape",
        "together",
        "watch",
    )

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.id = shape.id
        self.fields = shape.fields
        self.filters = shape.filters
        self.operators = tuple(roughly(operator) if shape.rough else operator for _, operator in shape.filters)
        self.watch = shape.watch
        self.names = frozenset((*shape.fields, *(field for field, _ in shape.filters)))
        """The fields that decide who is a member."""
        self.looked_at = tuple({*self.names, *shape.watch})
        self.together = _together(self.names)
        self.is_any = shape.mode == "any"
        self.is_scope = shape.kind is ShapeKind.SCOPE
        self.is_predicate = shape.kind is ShapeKind.PREDICATE
        self.bucket = bucket_of(shape.id, ())
        """The one bucket of a shape without values."""

    def is_like(self, shape: Shape) -> bool:
        """Whether the other is of the same objects or lists, whatever either watches and however values are written."""
        mine = self.shape
        return mine.kind is shape.kind and mine.fields == shape.fields and mine.filters == shape.filters


def _together(names: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The paths that lead on from one place, by the place: a list there has elements that may meet all or some."""
    paths_of: dict[str, set[str]] = {}
    for path, other in combinations(sorted(names), 2):
        pairs = zip(path.split("."), other.split("."), strict=False)
        shared = [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
        if shared:
            paths_of.setdefault(".".join(shared), set()).update((path, other))
    return tuple((place, tuple(paths)) for place, paths in paths_of.items())


class Generation(NamedTuple):
    """How much is known of a store's list of shapes: so many, of the list of this epoch."""

    epoch: str
    n_shapes: int


class ShapeIndex:
    """The shapes that a store knew in one epoch, in the order in which it learnt them.

    Safe to use from several threads.
    """

    def __init__(self, epoch: str = "") -> None:
        self._by_topic: TopicTrie[Known] = TopicTrie()
        self._by_type: dict[str, tuple[Known, ...]] = {}
        self._lock = threading.Lock()
        self._taken_up: set[ShapeId] = set()
        self._all: list[Known] = []
        self._generation = Generation(epoch, 0)

    @property
    def generation(self) -> Generation:
        """How many shapes of the store's list were taken up; whoever reads it can rely on these."""
        return self._generation

    def learn(self, start: int, shapes: Sequence[Shape]) -> None:
        """Take up the shapes that the store learnt from number `start` on; those already taken up are passed over."""
        with self._lock:
            epoch, n_shapes = self._generation
            if n_shapes < start:
                # Those between are not known; whoever asks next is given them.
                return
            for n_known, shape in enumerate(shapes[n_shapes - start :], n_shapes + 1):
                self._take_up(shape)
                self._generation = Generation(epoch, n_known)

    def _take_up(self, shape: Shape) -> None:
        if shape.id in self._taken_up:
            return
        self._taken_up.add(shape.id)
        known = Known(shape)
        self._all.append(known)
        if shape.kind in (ShapeKind.TOPIC, ShapeKind.PREDICATE):
            self._by_topic.add(shape.pattern, known)
        elif shape.kind in (ShapeKind.ID, ShapeKind.SCOPE):
            self._by_type[shape.pattern] = (*self._by_type.get(shape.pattern, ()), known)

    def all(self) -> tuple[Known, ...]:
        """Every shape that events reach."""
        return tuple(self._all)

    def of_topic(self, topic: str) -> tuple[Known, ...]:
        """The shapes of topic dependencies and predicates whose pattern matches."""
        return self._by_topic.matching(topic)

    def of_type(self, type_: str) -> tuple[Known, ...]:
        """The shapes of dependencies on objects of the type, and on lists of them."""
        return self._by_type.get(type_, ())


class Shapes:
    """The index of a store that may begin a new life, with another list of shapes; `index` is the one for now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.index = ShapeIndex()

    def learn(self, start: Generation, shapes: Sequence[Shape]) -> None:
        """Take up the shapes that the store learnt after `start`. Those of another epoch are a new list.

        An index is never emptied: who is looking into it goes on, and is refused by the store.
        """
        with self._lock:
            if self.index.generation.epoch != start.epoch:
                if start.n_shapes:
                    # Somebody has begun another list meanwhile; whoever asks next is given all of it.
                    return
                self.index = ShapeIndex(start.epoch)
            self.index.learn(start.n_shapes, shapes)
