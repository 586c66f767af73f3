"""Ask triage whether an event touches a dependency."""

from collections.abc import Iterable

from everfresh.matching.shapes import Group, Shape, bucket_in, shape_and_values
from everfresh.matching.triage import ShapeIndex, Touched, touched_by_events
from everfresh.model.dependency import Dependency
from everfresh.model.event import Event


def index_of(dependencies: Iterable[Dependency]) -> ShapeIndex:
    """An index that knows the shapes of the dependencies."""
    index = ShapeIndex()
    index.learn(0, shapes_of(dependencies))
    return index


def shapes_of(dependencies: Iterable[Dependency]) -> list[Shape]:
    """The shapes of the dependencies, in order."""
    return [shape_and_values(dependency)[0] for dependency in dependencies]


def is_in(dependency: Dependency, touched: Touched) -> bool:
    """Whether an entry with the dependency is among what was touched."""
    shape, values = shape_and_values(dependency)
    if bucket_in(shape, values) in touched.buckets or shape.id in touched.shapes:
        return True
    return any(
        probe.stem == stem and probe.touches(operands)
        for _, stem, operands in Group(shape, (values,)).filtered()
        for probe in touched.probes
    )


def touches(event: Event, dependency: Dependency) -> bool:
    """Whether the event touches an entry with the dependency."""
    return is_in(dependency, touched_by_events([event], index_of([dependency])))


def widens(event: Event, dependency: Dependency) -> bool:
    """Whether the event touches all entries with the shape of the dependency."""
    shape, _ = shape_and_values(dependency)
    return shape.id in touched_by_events([event], index_of([dependency])).shapes


def reasons(event: Event, *dependencies: Dependency) -> list[str]:
    """Why the event touches all entries of some shape, for each such shape."""
    return [widening.reason for widening in touched_by_events([event], index_of(dependencies)).widened]
