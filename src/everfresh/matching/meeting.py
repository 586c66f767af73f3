"""Meeting: which of an entry's dependencies an event meets, once triage has said what it touches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from everfresh.matching.probes import Probe
from everfresh.matching.shapes import (
    Bucket,
    Group,
    Shape,
    ShapeId,
    ShapeKind,
    Values,
    bucket_of,
    readable,
    shapes_to_register,
)
from everfresh.matching.triage import Touched


class Met(msgspec.Struct, frozen=True):
    """A dependency that an event meets. `widened` says why it touches every such dependency, empty when it does not."""

    shape: Shape
    values: Values
    widened: str = ""

    @property
    def is_predicate(self) -> bool:
        """Whether the function's own judge was asked; what it said is not known here."""
        return self.shape.kind is ShapeKind.PREDICATE

    @property
    def bucket(self) -> Bucket:
        """The bucket of a dependency without filters."""
        return bucket_of(self.shape.id, self.values)


class Dependencies:
    """The dependencies of one entry, filed so that it costs what an event touches to find those that it meets."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._plain: dict[Bucket, Met] = {}
        self._filtered: dict[Bucket, list[tuple[Values, Met]]] = {}
        self._groups: dict[ShapeId, Group] = {}
        for group in groups:
            # Tags and calls are met by name alone.
            if not tuple(shapes_to_register([group.shape])):
                continue
            self._groups[group.shape.id] = group
            if group.shape.filters:
                for values, (_, stem, operands) in zip(group.values, group.filtered(), strict=True):
                    self._filtered.setdefault(stem, []).append((operands, Met(group.shape, values)))
            else:
                for values in group.values:
                    met = Met(group.shape, values)
                    self._plain[met.bucket] = met

    def met_by(self, touched: Touched) -> tuple[Met, ...]:
        """Those that the event of this triage meets, each once; of a predicate, that it is asked."""
        found: dict[tuple[Shape, Values], Met] = {}
        for group, reason in self._widened(touched):
            found.update(((group.shape, values), Met(group.shape, values, reason)) for values in group.values)
        # An event that widens may meet some by their values too, which says more.
        by_value = [self._plain[bucket] for bucket in (*touched.buckets, *touched.predicates) if bucket in self._plain]
        by_value.extend(met for probe in touched.probes for met in self._passing(probe))
        found.update(((met.shape, met.values), met) for met in by_value)
        return tuple(found.values())

    def _widened(self, touched: Touched) -> Iterator[tuple[Group, str]]:
        reasons = {one.shape: one.reason for one in touched.widened}
        for shape_id in touched.shapes:
            group = self._groups.get(shape_id)
            if group is not None:
                yield group, reasons[readable(group.shape)]

    def _passing(self, probe: Probe) -> Iterator[Met]:
        for operands, met in self._filtered.get(probe.stem, ()):
            if probe.touches(operands):
                yield met
