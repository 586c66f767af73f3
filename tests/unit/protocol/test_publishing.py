import pytest

from everfresh.matching.index import Generation, Shapes
from everfresh.matching.shapes import Group, ShapeKind, bucket_of, predicate_shape, shape_and_values
from everfresh.matching.triage import Touched
from everfresh.model import dependency as dep
from everfresh.model.entry import Key, Recipe
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, Judge, Mention, ShapesMoved
from everfresh.protocol.publishing import Published, invalidate, learn, publish, suspect, take_in, writable
from everfresh.protocol.sourcing import Offset
from tests.unit.protocol.making import at
from tests.unit.protocol.script import Script

BUG = dep.Topic("bug.*", {"bug.id": 7})
EVENT = Event("bug.update", {"bug": {"id": 7}}, id="m-1")
MENTION = Mention("event bug.update m-1", EVENT)
APPLIED = Applied(at(8), (Key("f(1)"),), ())
PUBLISHED = Published(APPLIED, (), 0)
PREDICATE = predicate_shape("bug.#", "f")
BUCKET = Group(PREDICATE, ((),)).buckets()[0]
CANDIDATES = (Candidate(BUCKET, Key("f(1)"), Recipe("f", b"1")), Candidate(BUCKET, Key("f(2)"), Recipe("f", b"2")))


def touched_of(*dependencies: dep.Dependency, number: int = 0) -> Touched:
    parts = [shape_and_values(dependency) for dependency in dependencies]
    return Touched({bucket_of(shape.id, values): number for shape, values in parts})


def shapes_of(*dependencies: dep.Dependency) -> Shapes:
    shapes = Shapes()
    shapes.learn(known(0), [shape_and_values(dependency)[0] for dependency in dependencies])
    return shapes


def shapes_with_predicate() -> Shapes:
    shapes = Shapes()
    shapes.learn(known(0), [PREDICATE])
    return shapes


def known(n_shapes: int) -> Generation:
    return Generation(at(0).epoch, n_shapes)


def moved(n_known: int, *dependencies: dep.Dependency) -> ShapesMoved:
    return ShapesMoved(known(n_known), tuple(shape_and_values(dependency)[0] for dependency in dependencies))


def test_an_event_is_applied_to_what_triage_finds() -> None:
    """One step of the store, and the answer is the store's."""
    script = Script(publish([EVENT], shapes_of(BUG)))

    script.asks(Apply(touched_of(BUG), known(1), (MENTION,))).gets(APPLIED)

    assert script.result == PUBLISHED


def test_a_dry_run_changes_nothing() -> None:
    """The store is told so, in the same words."""
    script = Script(publish([EVENT], shapes_of(BUG), is_dry=True))

    script.asks(Apply(touched_of(BUG), known(1), (MENTION,), is_dry=True)).gets(APPLIED)

    assert script.result == PUBLISHED


def test_events_of_one_request_keep_their_numbers() -> None:
    """So that each entry is told of the event that touches it."""
    other = Event("build.new")
    script = Script(publish([other, EVENT], shapes_of(BUG)))

    script.asks(Apply(touched_of(BUG, number=1), known(1), (Mention("event build.new", other), MENTION)))


def test_the_builds_that_published_are_told() -> None:
    """So that a chain of them can be seen, and ended. Those touched by name have a cause as well."""
    chain = ("f(1)", "g(1)")

    script = Script(publish([EVENT], shapes_of(BUG), cause=chain))
    script.asks(Apply(touched_of(BUG), known(1), (MENTION,), cause=chain))

    script = Script(invalidate([dep.Tag("home")], shapes_of(), cause=chain))
    script.asks(Apply(touched_of(dep.Tag("home")), known(0), (Mention("invalidated Tag(name='home')"),), cause=chain))


def test_the_store_is_told_how_events_are_written() -> None:
    """It keeps them for functions that ask for them."""
    script = Script(publish([EVENT], shapes_of(), encode=lambda event: event.topic.encode()))

    request = script.request

    assert isinstance(request, Apply)
    assert request.encode is not None
    assert request.encode(EVENT) == b"bug.update"


def test_an_event_meets_shapes_that_another_process_declared() -> None:
    """The store refuses a triage that did not know them, and says which they are; then it is triaged again."""
    shapes = shapes_of()
    script = Script(publish([EVENT], shapes))

    script.asks(Apply(Touched(), known(0), (MENTION,))).gets(moved(0, BUG))
    script.asks(Apply(touched_of(BUG), known(1), (MENTION,))).gets(APPLIED)

    assert script.result == PUBLISHED
    assert shapes.index.generation == known(1)


def test_shapes_may_come_while_the_event_is_under_way() -> None:
    """It is asked again until both know the same."""
    first, second = dep.Topic("bug.#"), BUG
    script = Script(publish([EVENT], shapes_of()))

    script.asks(Apply(Touched(), known(0), (MENTION,))).gets(moved(0, first))
    script.asks(Apply(touched_of(first), known(1), (MENTION,))).gets(moved(1, second))

    script.asks(Apply(touched_of(first, second), known(2), (MENTION,)))


def test_a_store_that_began_a_new_life_has_other_shapes() -> None:
    """However many they are: those of the old one are forgotten, and what is there now is triaged by the new list."""
    old, new = dep.Topic("bug.#"), BUG
    shapes = shapes_of(old, dep.Id("article", 1))
    script = Script(publish([EVENT], shapes))
    again = Generation("another life", 0)

    script.asks(Apply(touched_of(old), known(2), (MENTION,))).gets(ShapesMoved(again, moved(0, new).shapes))
    script.asks(Apply(touched_of(new), again._replace(n_shapes=1), (MENTION,))).gets(APPLIED)

    assert script.result == PUBLISHED


def test_another_thread_may_teach_the_index_first() -> None:
    """Both were told of the same shapes, and each is taken up once."""
    shapes = shapes_of()
    script = Script(publish([EVENT], shapes))
    answer = moved(0, BUG)
    script.asks(Apply(Touched(), known(0), (MENTION,)))

    shapes.learn(answer.after, answer.shapes)
    script.gets(answer)

    script.asks(Apply(touched_of(BUG), known(1), (MENTION,)))
    assert shapes.index.generation == known(1)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event("bug.update"), "event bug.update"),
        (Event("bug.update", id="m-1"), "event bug.update m-1"),
        (Event("bug.update", id="\ud800"), "event bug.update ?"),
        (Event("bug.update", id="m" * 500), "event bug.update " + "m" * 283),
    ],
    ids=["topic", "id", "not-utf-8", "long"],
)
def test_entries_are_told_why_they_are_stale(event: Event, text: str) -> None:
    """One line of bounded length, which every store can hold."""
    script = Script(publish([event], shapes_of()))

    script.asks(Apply(Touched(), known(0), (Mention(text, event),)))


# --------------------------------------------------------------------------------------------------------- widening


def test_an_event_that_touches_a_whole_shape_says_why() -> None:
    """To the entries, and to whoever published; the other events are told as ever."""
    unknown = Event.unknown("article")
    index = shapes_of(dep.Id("article", 1), BUG)
    script = Script(publish([EVENT, unknown], index))

    request = script.request
    assert isinstance(request, Apply)
    texts = [mention.text for mention in request.mentions]
    script.gets(APPLIED)

    assert texts == [
        "event bug.update m-1",
        f"event {unknown.topic} (widened: the event says that anything may have changed)",
    ]
    assert [widening.event for widening in script.result.widened] == [1]


def test_each_reason_is_told_once_and_in_bounded_length() -> None:
    """However many shapes were touched for it."""
    index = shapes_of(*(dep.Id("article", 1, (f"field {number}",)) for number in range(9)), dep.Id("article", 1))
    script = Script(publish([Event.change("article", changed=[f"field {number}" for number in range(9)])], index))

    request = script.request

    assert isinstance(request, Apply)
    assert len(request.touched.widened) == 10
    assert request.mentions[0].text.count("the event carries no id") == 1
    assert len(request.mentions[0].text) <= 300


# ------------------------------------------------------------------------------------------------------- predicates


def test_predicates_are_asked_about_the_entries_that_stand_there() -> None:
    """With the events of their topics; those that they spare are not touched, and it is said how many were asked."""
    script = Script(publish([EVENT], shapes_with_predicate()))
    touched = Touched(predicates={BUCKET: (0,)})

    script.asks(Candidates((BUCKET,))).gets(CANDIDATES)
    script.asks(Judge(CANDIDATES, (EVENT,), {BUCKET: (0,)})).gets({BUCKET: frozenset({Key("f(1)")})})
    script.asks(Apply(touched, known(1), (MENTION,), {BUCKET: frozenset({Key("f(1)")})})).gets(APPLIED)

    assert script.result == Published(APPLIED, (), 2)


def test_nobody_is_asked_when_nobody_stands_there() -> None:
    """Who comes between is touched."""
    script = Script(publish([EVENT], shapes_with_predicate()))

    script.asks(Candidates((BUCKET,))).gets(())
    script.asks(Apply(Touched(predicates={BUCKET: (0,)}), known(1), (MENTION,))).gets(APPLIED)

    assert script.result == PUBLISHED


def test_predicates_are_asked_again_when_shapes_moved() -> None:
    """Others may stand there by now."""
    script = Script(publish([EVENT], shapes_with_predicate()))

    script.asks(Candidates((BUCKET,))).gets(CANDIDATES)
    script.asks(Judge(CANDIDATES, (EVENT,), {BUCKET: (0,)})).gets({})
    script.asks(Apply(Touched(predicates={BUCKET: (0,)}), known(1), (MENTION,))).gets(moved(1, BUG))

    script.asks(Candidates((BUCKET,)))


# ---------------------------------------------------------------------------------------------------------- by name


def test_invalidating_touches_by_name() -> None:
    """As if an event had come; each is told of the one that was named."""
    script = Script(invalidate([dep.Tag("home"), dep.Tag("news")], shapes_of()))

    touched = Touched({**touched_of(dep.Tag("home")).buckets, **touched_of(dep.Tag("news"), number=1).buckets})
    mentions = (Mention("invalidated Tag(name='home')"), Mention("invalidated Tag(name='news')"))
    script.asks(Apply(touched, known(0), mentions)).gets(APPLIED)

    assert script.result == PUBLISHED


def test_a_name_is_told_in_one_line_of_bounded_length() -> None:
    """It is stored with the entry."""
    script = Script(invalidate([dep.Tag("n" * 500 + "\ud800")], shapes_of()))

    request = script.request

    assert isinstance(request, Apply)
    assert len(request.mentions[0].text) == len("invalidated ") + 300
    assert request.mentions[0].event is None


def test_invalidating_an_object_meets_those_who_watch_it_in_another_process() -> None:
    """Their shape is learnt from the store first."""
    watching = dep.Id("article", 7, ("title",))
    named = dep.Id("article", 7)
    mentions = (Mention(f"invalidated {named!r}"),)
    script = Script(invalidate([named], shapes_of()))

    answer = moved(0, watching)
    assert answer.shapes[0].kind is ShapeKind.ID
    script.asks(Apply(touched_of(named), known(0), mentions)).gets(answer)

    script.asks(Apply(touched_of(named, watching), known(1), mentions))


def test_what_a_source_brings_is_applied_with_its_offset() -> None:
    """In one step, and again if it was refused: an offset stands for nothing that was not applied."""
    offsets = (Offset("bus", "5"),)
    script = Script(take_in([EVENT], shapes_of(), offsets=offsets))

    script.asks(Apply(Touched(), known(0), (MENTION,), offsets=offsets)).gets(moved(0, BUG))
    script.asks(Apply(touched_of(BUG), known(1), (MENTION,), offsets=offsets)).gets(APPLIED)

    assert script.result == PUBLISHED


def test_an_offset_goes_without_events() -> None:
    """A source came further, and brought nothing."""
    offsets = (Offset("bus", "5"),)
    script = Script(take_in([], shapes_of(BUG), offsets=offsets))

    script.asks(Apply(Touched(), known(1), (), offsets=offsets)).gets(APPLIED)

    assert script.result == PUBLISHED


def test_what_lost_events_could_touch_is_touched_slowly() -> None:
    """Whole shapes, with the reason, so many a second; of shapes learnt meanwhile too."""
    shape, _ = shape_and_values(BUG)
    script = Script(suspect(["bug.new"], "bus was gone for \ud800 long", shapes_of(), per_s=5.0))

    mentions = (Mention("bus was gone for ? long"),)
    script.asks(Apply(Touched(), known(0), mentions, per_s=5.0)).gets(moved(0, BUG))
    script.asks(Apply(Touched(shapes={shape.id: 0}), known(1), mentions, per_s=5.0)).gets(APPLIED)

    assert script.result == PUBLISHED


def test_predicates_are_not_asked_about_lost_events() -> None:
    """All their entries are touched."""
    script = Script(suspect(["#"], "lost", shapes_with_predicate(), per_s=5.0))

    script.asks(Apply(Touched(shapes={PREDICATE.id: 0}), known(1), (Mention("lost"),), per_s=5.0)).gets(APPLIED)

    assert script.result == PUBLISHED


def test_shapes_can_be_learnt_without_an_event() -> None:
    """A dry step that touches nothing is refused until all are known."""
    shapes = shapes_of()
    script = Script(learn(shapes))

    script.asks(Apply(Touched(), known(0), (), is_dry=True)).gets(moved(0, BUG))
    script.asks(Apply(Touched(), known(1), (), is_dry=True)).gets(Applied(at(7), (), ()))

    assert script.result is None
    assert shapes.index.generation == known(1)


def test_what_can_be_written_stays_as_it_is() -> None:
    """Only what has no UTF-8 is replaced."""
    assert [writable(text) for text in ("bug", "größer", "\udcff!")] == ["bug", "größer", "?!"]
