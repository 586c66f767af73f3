from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.canonical import canonical_text
from everfresh.matching.paths import values_at
from everfresh.matching.shapes import Group
from everfresh.matching.triage import (
    MAX_PRODUCT,
    ShapeIndex,
    Touched,
    touched_by_events,
    touched_by_name,
)
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.event import Event, Row
from tests.unit.matching.triaging import index_of, is_in, shapes_of, touches, widens

ARTICLE = dep.Id("article", 7)
TITLE = dep.Id("article", 7, ("title",))


# ------------------------------------------------------------------------------------------------------------ topics


@pytest.mark.parametrize(
    ("topic", "body", "is_touched"),
    [
        ("bug.update", {"bug": {"product": "Fedora", "id": 7}}, True),
        ("bug.update", {"bug": {"product": "Fedora", "id": "007"}}, True),
        ("bug.update", {"bug": {"product": "Debian", "id": 7}}, False),
        ("bug.update", {"bug": {"product": "Fedora"}}, False),
        ("bug.update", {"bug": {"product": "Fedora", "id": None}}, False),
        ("bug.update.late", {"bug": {"product": "Fedora", "id": 7}}, False),
        ("build.update", {"bug": {"product": "Fedora", "id": 7}}, False),
    ],
    ids=["equal", "another-form", "other", "absent", "null", "longer-topic", "other-topic"],
)
def test_a_topic_is_touched_by_events_that_have_its_fields(topic: str, body: dict[str, Any], is_touched: bool) -> None:
    """All of its conditions must hold."""
    dependency = dep.Topic("bug.*", {"bug.product": "Fedora", "bug.id": 7})

    assert touches(Event(topic, body), dependency) is is_touched


def test_a_topic_without_conditions_is_touched_by_each_matching_event() -> None:
    """Nothing is asked of the body."""
    assert touches(Event("bug.update"), dep.Topic("bug.#"))


def test_an_event_with_lists_touches_each_combination() -> None:
    """A message about two packages in two releases is news for all four pages."""
    event = Event("build", {"packages": ["a", "b"], "releases": [{"name": "40"}, {"name": "41"}]})

    for package in ("a", "b"):
        for release in (40, 41):
            assert touches(event, dep.Topic("build", {"packages": package, "releases.name": release}))
    assert not touches(event, dep.Topic("build", {"packages": "c", "releases.name": 40}))


def test_too_many_combinations_touch_the_whole_shape() -> None:
    """An event cannot cost more than a look at everything of one shape."""
    dependency = dep.Topic("build", {"one": "x", "other": "y"})

    at_the_limit = Event("build", {"one": list(range(MAX_PRODUCT)), "other": [0]})
    beyond = Event("build", {"one": list(range(MAX_PRODUCT)), "other": [0, 1]})

    assert not widens(at_the_limit, dependency)
    assert widens(beyond, dependency)


def test_a_list_that_is_too_long_touches_the_whole_shape() -> None:
    """What the dependency asks for may stand in its last element."""
    event = Event("build", {"packages": [{}] * MAX_PRODUCT + [{"name": "a"}]})

    assert widens(event, dep.Topic("build", {"packages.name": "a"}))


def test_a_value_that_is_nested_too_deep_touches_the_whole_shape() -> None:
    """A message from outside is neither refused nor passed over."""
    value: dict[str, object] = {}
    for _ in range(100):
        value = {"x": value}

    assert widens(Event("build", {"package": value}), dep.Topic("build", {"package": "a"}))


def test_a_value_that_cannot_be_compared_touches_the_whole_shape() -> None:
    """A needless rebuild costs little, a missed one is a bug."""
    assert widens(Event("build", {"package": [{1, 2}]}), dep.Topic("build", {"package": "a"}))


WORDS = st.sampled_from(["a", "b"])
CONDITIONS = st.dictionaries(st.sampled_from(["x", "y.z"]), st.integers(0, 2) | WORDS, max_size=2)
LEAVES = st.none() | st.integers(0, 2) | st.sampled_from(["0", "1.0", "a", "b"])
FIELDS = LEAVES | st.lists(LEAVES, max_size=3)
BODIES = st.fixed_dictionaries({}, optional={"x": FIELDS, "y": st.fixed_dictionaries({"z": FIELDS}) | FIELDS})


@given(st.sampled_from(["a.b", "a.*", "#", "b.#"]), CONDITIONS, BODIES)
def test_triage_finds_what_looking_at_each_entry_finds(
    pattern: str, where: dict[str, Any], body: dict[str, Any]
) -> None:
    """The index is a faster way to the same answer."""
    has_fields = all(
        canonical_text(value) in map(canonical_text, values_at(body, field, n_max=MAX_PRODUCT) or [])
        for field, value in where.items()
    )

    assert touches(Event("a.b", body), dep.Topic(pattern, where)) is (pattern != "b.#" and has_fields)


# -------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "event",
    [
        Event.change("article", after={"id": 7}),
        Event.change("article", before={"id": "7"}),
        Event.change("article", before={"id": 7}, after={"id": 8}),
        Event.change("article", before={"id": 6}, after={"id": 7}),
        Event.change("article", before={"id": 7}, after={"title": "x"}),
        Event.change("article", before={"title": "x"}, after={"id": 7}),
        Event.change("article", before={"id": 7}, changed=["title"]),
    ],
    ids=["create", "delete", "id-before", "id-after", "only-in-before", "only-in-after", "fields"],
)
def test_a_row_event_touches_the_object_of_either_image(event: Event) -> None:
    """Leaving is a change as entering is."""
    assert touches(event, ARTICLE)
    assert not touches(event, dep.Id("article", 9))


def test_a_row_event_touches_no_object_of_another_type() -> None:
    """Ids are unique only within a type."""
    assert not touches(Event.change("author", after={"id": 7}), ARTICLE)


def test_an_event_without_a_row_touches_no_object() -> None:
    """A message on a bus says nothing of rows, whatever its body looks like."""
    assert not touches(Event("article.update", {"id": 7}), ARTICLE)


@pytest.mark.parametrize(
    "event",
    [Event.change("article", before={"title": "x"}), Event.change("article", changed=["title"])],
    ids=["partial-image", "bulk"],
)
def test_a_row_event_without_an_id_touches_the_whole_shape(event: Event) -> None:
    """Any row of the type may be meant."""
    assert widens(event, ARTICLE)


def test_an_unknown_change_touches_everything_of_its_type() -> None:
    """After a truncate nothing is what it was; watched fields and conditions are among it."""
    event = Event.unknown("article")

    assert widens(event, ARTICLE)
    assert widens(event, TITLE)
    assert widens(event, dep.Topic("article.*", {"after.status": "open"}))
    for change in ("create", "update", "delete", "unknown"):
        assert widens(event, dep.Topic(f"article.{change}", {"after.status": "open"}))
    assert not touches(event, dep.Topic("article.lists"))
    assert not touches(event, dep.Topic("author.update"))
    assert not touches(event, dep.Id("author", 7))


@pytest.mark.parametrize(
    ("event", "is_touched"),
    [
        (Event.change("article", before={"id": 7, "title": "x"}, after={"id": 7, "title": "y"}), True),
        (Event.change("article", before={"id": 7, "title": "x"}, after={"id": 7, "title": "x"}), False),
        (Event.change("article", before={"id": 7, "title": None}, after={"id": 7, "title": None}), False),
        (Event.change("article", before={"id": 7}, after={"id": 7, "title": None}), True),
        (Event.change("article", before={"id": 7, "title": None}, after={"id": 7}), True),
        (Event.change("article", before={"id": 7}, after={"id": 7}), True),
        (Event.change("article", after={"id": 7, "title": "x"}), True),
        (Event.change("article", before={"id": 7, "title": "x"}), True),
        (Event.change("article", after={"id": 7}, changed=["title", "body"]), True),
        (Event.change("article", after={"id": 7}, changed=["body"]), False),
        (
            Event.change("article", before={"id": 7, "title": "x"}, after={"id": 7, "title": "x"}, changed=["title"]),
            True,
        ),
    ],
    ids=[
        "differs",
        "equal",
        "both-null",
        "unknown-before",
        "unknown-after",
        "unknown",
        "create",
        "delete",
        "said",
        "said-not",
        "said-though-equal",
    ],
)
def test_a_watched_object_is_touched_when_a_watched_field_may_have_changed(event: Event, is_touched: bool) -> None:
    """An absent field is unknown, and the unknown counts as changed; what the event says of it decides."""
    assert touches(event, TITLE) is is_touched


@pytest.mark.parametrize(
    "event",
    [
        Event.change("article", before={"id": 7, "title": "x", "body": ""}, after={"id": 7, "title": "y", "body": ""}),
        Event.change("article", before={"id": 7, "title": "x", "body": ""}, after={"id": 7, "title": "x"}),
        Event.change("article", after={"id": 7}, changed=["title"]),
    ],
    ids=["differs", "unknown", "said"],
)
def test_one_of_the_watched_fields_is_enough(event: Event) -> None:
    """Each of them shows on the page."""
    assert touches(event, dep.Id("article", 7, ("title", "body")))


def test_a_row_event_is_an_event_with_a_topic_too() -> None:
    """Who listens to topics need not know what a row is."""
    event = Event.change("article", before={"id": 7, "status": "new"}, after={"id": 7, "status": "open"})

    assert touches(event, dep.Topic("article.update", {"after.status": "open"}))


NEW, OPEN = {"id": 7, "status": "new"}, {"id": 7, "status": "open"}


@pytest.mark.parametrize(
    ("event", "where", "is_touched"),
    [
        (Event.change("article", changed=["status"]), {"after.status": "open"}, True),
        (Event.change("article", changed=["status"]), {"before.status": "open"}, True),
        (Event.change("article", after={"id": 7}, changed=["title"]), {"after.status": "open"}, True),
        (Event.change("article", before=OPEN, changed=["title"]), {"after.status": "open"}, True),
        (Event.change("article", before=NEW, changed=["title"]), {"after.status": "open"}, False),
        (Event.change("article", before={"id": 7}, after={"id": 7}), {"after.status": "open"}, True),
        (Event.change("article", before=NEW, after=NEW), {"after.status": "open"}, False),
        (Event.change("article", after=NEW), {"before.status": "new"}, False),
        (Event.change("article", before=NEW), {"after.status": "new"}, False),
        (Event.change("article", after={"tags": [{"name": "x"}, {}]}), {"after.tags.name": "y"}, True),
        (Event.change("article", after={"id": 7}), {"after.status": con.one_of("open", "new")}, True),
        (Event.change("article", changed=["title"]), {"after": con.is_null()}, True),
        (Event.change("article", before=NEW, after={}), {"after": {"id": 7}}, True),
        (Event.change("article", before=NEW, after=OPEN), {"after": {"id": 7}}, False),
        (Event.change("article", before=NEW, after=OPEN), {"changed": "status"}, True),
        (Event.change("article", changed=["title"]), {"changed": "status"}, False),
        (Event.change("article", changed=["title"]), {"changed": "title"}, True),
        (Event.change("article", changed=[]), {"changed": "title"}, False),
        (Event("article.a", {"n": 1}, row=Row("article")), {"after.status": "open"}, True),
        (Event("article.a", {"n": 1}, row=Row("article", after=OPEN)), {"after.status": "open"}, True),
        (Event("article.a", {"after": OPEN}), {"after.status": "new"}, False),
        (Event("article.a", {"after": {}}), {"after.status": "new"}, False),
        (Event.change("article", before=NEW, after=OPEN), {"status": "open"}, False),
    ],
)
def test_a_topic_on_an_image_is_touched_when_the_image_does_not_say(
    event: Event, where: dict[str, Any], is_touched: bool
) -> None:
    """What a row event leaves out is unknown, by whatever way it is asked."""
    assert touches(event, dep.Topic("article.*", where)) is is_touched


def test_what_a_message_does_not_have_may_be_null() -> None:
    """In an equality as under `is_null`."""
    assert touches(Event("bug.new", {}), dep.Topic("bug.*", {"bug.assignee": None}))
    assert touches(Event("bug.new", {}), dep.Topic("bug.*", {"bug.assignee": con.one_of(None, "x")}))
    assert not touches(Event("bug.new", {"bug": {"assignee": "x"}}), dep.Topic("bug.*", {"bug.assignee": None}))


def test_several_events_touch_what_each_of_them_touches() -> None:
    """They are applied as one step."""
    dependencies = [dep.Topic("a"), dep.Id("article", 7), dep.Topic("b")]
    events = [Event("a"), Event.change("article", after={"id": 7})]

    touched = touched_by_events(events, index_of(dependencies))

    assert [is_in(dependency, touched) for dependency in dependencies] == [True, True, False]


@pytest.mark.parametrize(
    "decided",
    [Touched(), *shapes_of([ARTICLE]), Group(shapes_of([ARTICLE])[0], ())],
    ids=lambda word: type(word).__name__,
)
def test_what_was_decided_cannot_be_changed(decided: msgspec.Struct) -> None:
    """It is shared by threads."""
    with pytest.raises(AttributeError):
        setattr(decided, decided.__struct_fields__[0], None)


def test_no_event_touches_nothing() -> None:
    """And asks nothing of the index."""
    assert touched_by_events([], ShapeIndex()) == Touched()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(Decimal("1E+999999")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_body_stops_triage(value: object) -> None:
    """Messages come from outside, and one that raised would be lost with all that it touches."""
    dependencies = [
        dep.Topic("a", {"x": 1}),
        dep.Topic("#", {"x.y": 1, "x.z": 2}),
        dep.Id("a", 1),
        dep.Id("a", 1, ("x",)),
    ]
    index = index_of(dependencies)

    touched_by_events([Event("a", {"x": value}), Event.change("a", before={"id": value}, after={"x": value})], index)


# ----------------------------------------------------------------------------------------------------------- by name


@pytest.mark.parametrize(
    "dependency",
    [dep.Tag("home"), dep.Id("article", "7"), dep.Topic("bug.*", {"bug.id": 7}), dep.Call("f(1)")],
    ids=["tag", "id", "topic", "call"],
)
def test_what_is_named_is_touched(dependency: dep.Dependency) -> None:
    """Somebody who knows better than the events says so."""
    assert is_in(dependency, touched_by_name([dependency], ShapeIndex()))


def test_an_object_that_is_named_is_touched_whatever_is_watched_of_it() -> None:
    """Who invalidates an object does not say which field."""
    touched = touched_by_name([ARTICLE], index_of([TITLE]))

    assert is_in(TITLE, touched)
    assert not is_in(dep.Id("article", 8, ("title",)), touched)
    assert not is_in(dep.Id("author", 7, ("title",)), touched)


def test_naming_a_tag_touches_no_object_of_that_name() -> None:
    """Each kind of dependency has buckets of its own."""
    assert not is_in(dep.Call("home"), touched_by_name([dep.Tag("home")], ShapeIndex()))


def test_moments_of_an_event_meet_those_of_a_dependency() -> None:
    """Values compare by what they mean, in conditions as in ids."""
    dependency = dep.Topic("build", {"at": datetime(2024, 2, 29, 12, tzinfo=UTC)})

    assert touches(Event("build", {"at": "2024-02-29T13:00:00+01:00"}), dependency)
