import pytest

from everfresh.matching.shapes import ShapeKind, bucket_of, shape_and_values
from everfresh.matching.triage import ShapeIndex, Touched
from everfresh.model import dependency as dep
from everfresh.model.entry import Key
from everfresh.model.event import Event
from everfresh.protocol.publishing import invalidate, publish
from everfresh.protocol.requests import Applied, Apply, ShapesMoved
from tests.unit.protocol.making import at
from tests.unit.protocol.script import Script

BUG = dep.Topic("bug.*", {"bug.id": 7})
EVENT = Event("bug.update", {"bug": {"id": 7}}, id="m-1")
APPLIED = Applied(at(8), (Key("f(1)"),), ())


def touched_of(*dependencies: dep.Dependency) -> Touched:
    parts = [shape_and_values(dependency) for dependency in dependencies]
    return Touched(frozenset(bucket_of(shape.id, values) for shape, values in parts))


def index_of(*dependencies: dep.Dependency) -> ShapeIndex:
    index = ShapeIndex()
    index.learn(0, [shape_and_values(dependency)[0] for dependency in dependencies])
    return index


def test_an_event_is_applied_to_what_triage_finds() -> None:
    """One step of the store, and the answer is the store's."""
    script = Script(publish([EVENT], index_of(BUG)))

    script.asks(Apply(touched_of(BUG), 1, "event bug.update m-1")).gets(APPLIED)

    assert script.result == APPLIED


def test_a_dry_run_changes_nothing() -> None:
    """The store is told so, in the same words."""
    script = Script(publish([EVENT], index_of(BUG), is_dry=True))

    script.asks(Apply(touched_of(BUG), 1, "event bug.update m-1", is_dry=True)).gets(APPLIED)

    assert script.result == APPLIED


def test_an_event_meets_shapes_that_another_process_declared() -> None:
    """The store refuses a triage that did not know them, and says which they are; then it is triaged again."""
    index = ShapeIndex()
    script = Script(publish([EVENT], index))

    script.asks(Apply(Touched(), 0, "event bug.update m-1")).gets(ShapesMoved((shape_and_values(BUG)[0],)))
    script.asks(Apply(touched_of(BUG), 1, "event bug.update m-1")).gets(APPLIED)

    assert script.result == APPLIED
    assert index.generation == 1


def test_shapes_may_come_while_the_event_is_under_way() -> None:
    """It is asked again until both know the same."""
    first, second = dep.Topic("bug.#"), BUG
    script = Script(publish([EVENT], ShapeIndex()))

    script.asks(Apply(Touched(), 0, "event bug.update m-1")).gets(ShapesMoved((shape_and_values(first)[0],)))
    script.asks(Apply(touched_of(first), 1, "event bug.update m-1")).gets(ShapesMoved((shape_and_values(second)[0],)))

    script.asks(Apply(touched_of(first, second), 2, "event bug.update m-1"))


def test_another_thread_may_teach_the_index_first() -> None:
    """Both were told of the same shapes, and each is taken up once."""
    index = ShapeIndex()
    script = Script(publish([EVENT], index))
    shapes = (shape_and_values(BUG)[0],)
    script.asks(Apply(Touched(), 0, "event bug.update m-1"))

    index.learn(0, shapes)
    script.gets(ShapesMoved(shapes))

    script.asks(Apply(touched_of(BUG), 1, "event bug.update m-1"))
    assert index.of_topic("bug.update") == shapes


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([Event("bug.update")], "event bug.update"),
        ([Event("bug.update", id="m-1")], "event bug.update m-1"),
        ([Event("bug.update"), Event("bug.new")], "2 events"),
        ([Event("bug.update", id="\ud800")], "event bug.update ?"),
        ([Event("bug.update", id="m" * 500)], "event bug.update " + "m" * 283),
    ],
    ids=["topic", "id", "several", "not-utf-8", "long"],
)
def test_entries_are_told_why_they_are_stale(events: list[Event], reason: str) -> None:
    """One line of bounded length, which every store can hold."""
    script = Script(publish(events, ShapeIndex()))

    script.asks(Apply(Touched(), 0, reason))


def test_invalidating_touches_by_name() -> None:
    """As if an event had come."""
    script = Script(invalidate([dep.Tag("home"), dep.Id("article", 7)], ShapeIndex()))

    request = Apply(touched_of(dep.Tag("home"), dep.Id("article", 7)), 0, "invalidated by name")
    script.asks(request).gets(APPLIED)

    assert script.result == APPLIED


def test_invalidating_an_object_meets_those_who_watch_it_in_another_process() -> None:
    """Their shape is learnt from the store first."""
    watching = dep.Id("article", 7, ("title",))
    script = Script(invalidate([dep.Id("article", 7)], ShapeIndex()))

    moved = ShapesMoved((shape_and_values(watching)[0],))
    assert moved.shapes[0].kind is ShapeKind.ID
    script.asks(Apply(touched_of(dep.Id("article", 7)), 0, "invalidated by name")).gets(moved)

    script.asks(Apply(touched_of(dep.Id("article", 7), watching), 1, "invalidated by name"))
