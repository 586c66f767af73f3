"""Shapes that are learnt while an event is triaged."""

from collections.abc import Callable
from typing import Any

from everfresh.matching.index import Generation, Shapes
from everfresh.matching.shapes import shape_and_values
from everfresh.model.dependency import Topic
from everfresh.model.event import Event
from everfresh.protocol.applying import Apply
from everfresh.protocol.publishing import publish
from tests.unit.protocol.script import Script


class Body(dict[str, Any]):
    """A body during whose reading something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__({"id": 7})
        self._happens = happens

    def __contains__(self, key: object) -> bool:
        self._happens()
        return super().__contains__(key)


def test_a_shape_that_is_learnt_during_triage_does_not_count_as_looked_at() -> None:
    """Another thread may learn it, after the event was tested with those before it: the store must refuse, then."""
    known, later = (shape_and_values(Topic(pattern, {"id": 7}))[0] for pattern in ("bug.*", "#"))
    shapes = Shapes()
    shapes.learn(Generation("e", 0), [known])

    script = Script(publish([Event("bug.new", Body(lambda: shapes.learn(Generation("e", 1), [later])))], shapes))

    assert isinstance(script.request, Apply)
    assert script.request.generation == Generation("e", 1)
    assert shapes.index.generation == Generation("e", 2)
