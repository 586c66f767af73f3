"""Shapes and buckets: a dependency without its values, and with them.

    Topic("bug.*", where={"bug.product": "Fedora"})     shape (topic, "bug.*", ["bug.product"])  values ["Fedora"]
    Id("article", 7, watch=("title",))                  shape (id, "article", [], ["title"])     values ["7"]

    Scope("book", {"genre": "sf", "price": lt(9)})      shape (scope, "book", ["genre"], [["price", "lt"]])  ["sf", "9"]

Code declares few shapes; entries supply many values. A bucket is the shape's id and a hash of the values, so all
buckets of one shape stand side by side in an ordered index and the whole shape can be touched as one range. Two
different dependencies that meet in one bucket would cost a needless rebuild, never a missed one.

With conditions beyond equality, the id and a hash of what must be equal are the stem, and a hash of the operands comes
after it. So all candidates for such an event are one range too, and the conditions decide among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import NewType, assert_never

import msgspec

from everfresh.matching.canonical import canonical_text, framed
from everfresh.matching.comparing import compares_equal, is_rough, operand_text, operator_of
from everfresh.model import dependency as dep
from everfresh.model.conditions import Condition

ShapeId = NewType("ShapeId", bytes)
Bucket = NewType("Bucket", bytes)
Values = tuple[str, ...]
Filter = tuple[str, str]
"""A field and the operator of its condition."""

SHAPE_ID_BYTES = 8
_VALUES_HASH_BYTES = 8
STEM_BYTES = SHAPE_ID_BYTES + _VALUES_HASH_BYTES


class ShapeKind(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """Which kind of dependency a shape is of; a predicate is a function's own judge of events."""

    TOPIC = "topic"
    ID = "id"
    SCOPE = "scope"
    TAG = "tag"
    CALL = "call"
    PREDICATE = "predicate"


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    """What remains of a dependency without its values. `pattern` is a topic pattern, or the type of an object.

    `fields` are compared for equality and looked up; `filters` decide for each candidate. `mode` is a scope's. It is
    `rough` when a filter asks for values that have other writings, so that nobody can tell who equals them.
    """

    kind: ShapeKind
    pattern: str = ""
    fields: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    mode: str = ""
    filters: tuple[Filter, ...] = ()
    rough: bool = False

    @property
    def id(self) -> ShapeId:
        """A hash that is equal in every process."""
        return _shape_id(self)


class Group(msgspec.Struct, frozen=True):
    """Dependencies of one shape, held as their value texts: those of its fields, then one operand for each filter."""

    shape: Shape
    values: tuple[Values, ...]

    def buckets(self) -> list[Bucket]:
        """One bucket for each of the values."""
        if self.shape.filters:
            return [bucket for bucket, _, _ in self.filtered()]
        shape_id = self.shape.id
        return [bucket_of(shape_id, values) for values in self.values]

    def filtered(self) -> list[tuple[Bucket, Bucket, Values]]:
        """For each of the values its bucket, its stem and its operands; none when the shape has no filters."""
        n_filters = len(self.shape.filters)
        if not n_filters:
            return []
        shape_id = self.shape.id
        found: list[tuple[Bucket, Bucket, Values]] = []
        for values in self.values:
            operands = values[-n_filters:]
            stem = bucket_of(shape_id, values[:-n_filters])
            found.append((filtered_bucket(stem, operands), stem, operands))
        return found


TAG_SHAPE = Shape(ShapeKind.TAG)
CALL_SHAPE = Shape(ShapeKind.CALL)


@lru_cache(maxsize=4096)
def _shape_id(shape: Shape) -> ShapeId:
    return ShapeId(blake2b(msgspec.msgpack.encode(shape), digest_size=SHAPE_ID_BYTES).digest())


def bucket_of(shape_id: ShapeId, values: Values) -> Bucket:
    """The bucket of a shape with these values, or the stem of a filtered one; delimiters inside values never alias."""
    return Bucket(shape_id + _hash_of(values))


def filtered_bucket(stem: Bucket, operands: Values) -> Bucket:
    """The bucket of those who stand in the stem with these operands."""
    return Bucket(stem + _hash_of(operands))


def bucket_in(shape: Shape, values: Values) -> Bucket:
    """The bucket of a shape, filtered or not, with these values."""
    n_filters = len(shape.filters)
    if not n_filters:
        return bucket_of(shape.id, values)
    return filtered_bucket(bucket_of(shape.id, values[:-n_filters]), values[-n_filters:])


def stem_of(bucket: Bucket) -> Bucket:
    """The stem of a filtered bucket; another bucket is its own."""
    return Bucket(bucket[:STEM_BYTES])


def _hash_of(values: Values) -> bytes:
    joined = values[0] if len(values) == 1 else "".join(map(framed, values))
    return blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=_VALUES_HASH_BYTES).digest()


@lru_cache(maxsize=4096)
def call_bucket(key: str) -> Bucket:
    """The bucket of those built from the entry `key`."""
    return bucket_of(CALL_SHAPE.id, (key,))


def predicate_shape(pattern: str, function: str) -> Shape:
    """The shape of a function's own judge of the events with these topics; it has one bucket, without values."""
    return Shape(ShapeKind.PREDICATE, pattern, (function,))


def shape_and_values(dependency: dep.Dependency) -> tuple[Shape, Values]:
    """The dependency taken apart. A list that is not described has the shape of all its type's rows.

    Raises:
        InvalidDependency: a value has no canonical text.
    """
    match dependency:
        case dep.Topic(pattern=pattern, where=where):
            fields, filters, values = _apart(where)
            return Shape(ShapeKind.TOPIC, pattern, fields, filters=filters, rough=_is_rough(where)), values
        case dep.Id(type=type_, id=id_, watch=watch):
            return Shape(ShapeKind.ID, type_, (), _in_order(watch)), (canonical_text(id_),)
        case dep.Scope(type=type_, where=where, watch=watch, mode=mode):
            fields, filters, values = _apart(where)
            return Shape(ShapeKind.SCOPE, type_, fields, _in_order(watch), mode, filters, _is_rough(where)), values
        case dep.Tag(name=name):
            return TAG_SHAPE, (canonical_text(name),)
        case dep.Call(key=key):
            return CALL_SHAPE, (key,)
        case dep.Undescribed(type=type_):
            return Shape(ShapeKind.SCOPE, type_, mode="any"), ()
        case _:
            assert_never(dependency)


def _in_order(watch: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(watch)))


def _apart(where: Mapping[str, object]) -> tuple[tuple[str, ...], tuple[Filter, ...], Values]:
    """The fields that equal values, the filters, and the texts of both."""
    equal: dict[str, str] = {}
    filters: dict[Filter, str] = {}
    for field, value in sorted(where.items()):
        if isinstance(value, Condition):
            filters[field, operator_of(value)] = operand_text(value)
        else:
            equal[field] = canonical_text(value)
    return tuple(equal), tuple(filters), (*equal.values(), *filters.values())


def _is_rough(where: Mapping[str, object]) -> bool:
    return any(isinstance(value, Condition) and is_rough(value) for value in where.values())


def writings_of(shape: Shape) -> tuple[Shape, ...]:
    """The shapes of dependencies that are the same but for how their values are written."""
    if not any(compares_equal(operator) for _, operator in shape.filters):
        return (shape,)
    return (shape, msgspec.structs.replace(shape, rough=not shape.rough))


def shapes_to_register(shapes: Iterable[Shape]) -> Iterator[Shape]:
    """Those of the shapes that events reach through the index; tags and calls are reached by name."""
    return (shape for shape in shapes if shape.kind not in (ShapeKind.TAG, ShapeKind.CALL))


def readable(shape: Shape) -> str:
    """The shape as a person would say it."""
    if shape.kind is ShapeKind.PREDICATE:
        return f"topic {shape.pattern} if should_refresh of {', '.join(shape.fields)} says so"
    conditions = [f"{field} = ..." for field in shape.fields] + [
        f"{field} {operator} ..." for field, operator in shape.filters
    ]
    parts = [f"{shape.kind.value} {shape.pattern}"]
    if conditions:
        parts.append("where " + ", ".join(conditions))
    if shape.watch:
        parts.append("watching " + ", ".join(shape.watch))
    if shape.mode == "any":
        parts.append("in any event")
    return " ".join(parts)


def grouped(parts: Iterable[tuple[Shape, Values]]) -> tuple[Group, ...]:
    """The parts by shape, each value once, in an order that does not depend on how they came."""
    values_of: dict[Shape, set[Values]] = {}
    for shape, values in parts:
        values_of.setdefault(shape, set()).add(values)
    shapes = sorted(values_of, key=lambda shape: shape.id)
    return tuple(Group(shape, tuple(sorted(values_of[shape]))) for shape in shapes)


def buckets_of(groups: Sequence[Group]) -> set[Bucket]:
    """Every bucket in which an entry with these dependencies stands."""
    return {bucket for group in groups for bucket in group.buckets()}
