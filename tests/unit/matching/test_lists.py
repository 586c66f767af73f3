"""Lists of rows: who enters, who leaves, and what nobody can tell."""

from typing import Any

import pytest

from everfresh.matching.shapes import shape_and_values
from everfresh.matching.triage import MAX_PRODUCT, Widening, touched_by_events
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.event import Event, Row
from tests.unit.matching.books import NO_AFTER, NO_BEFORE, SCIFI, book, update
from tests.unit.matching.triaging import index_of, reasons, touches, widens

# ----------------------------------------------------------------------------------------------------- who is listed


@pytest.mark.parametrize(
    ("event", "is_touched"),
    [
        (Event.change("book", after=book()), True),
        (Event.change("book", before=book()), True),
        (Event.change("book", after=book(category="poetry")), False),
        (Event.change("book", before=book(category="poetry")), False),
        (Event.change("film", after=book()), False),
        (update(book(category="poetry"), book()), True),
        (update(book(), book(category="poetry")), True),
        (update(book(category="poetry"), book(category="drama")), False),
        (update(book(), book(title="y")), False),
        (update(book(category=["scifi", "drama"]), book(category=["drama", "scifi"])), False),
        (update(book(category=["scifi"]), book(category=[])), True),
        (Event("book.update", {"category": "scifi"}), False),
    ],
    ids=[
        "enters",
        "leaves",
        "enters-another",
        "leaves-another",
        "another-type",
        "moves-in",
        "moves-out",
        "moves-elsewhere",
        "stays",
        "reordered",
        "no-category-any-more",
        "no-row",
    ],
)
def test_a_list_is_touched_when_it_gains_or_loses_a_member(event: Event, is_touched: bool) -> None:
    """Both images are looked at."""
    assert touches(event, SCIFI) is is_touched
    assert not widens(event, SCIFI)


def test_a_list_without_conditions_is_the_whole_list() -> None:
    """It gains and loses every row, and no row moves in it."""
    whole = dep.Scope("book")

    assert touches(Event.change("book", after=book()), whole)
    assert touches(Event.change("book", before=book()), whole)
    assert not touches(update(book(), book(category="poetry")), whole)


@pytest.mark.parametrize(
    ("before", "after", "is_touched"),
    [
        (book(), book(title="y"), True),
        (book(), book(price=6), False),
        (book(category="poetry"), book(category="poetry", title="y"), False),
        (book(category="poetry"), book(title="y"), True),
    ],
    ids=["shown", "not-shown", "of-no-member", "moves-in"],
)
def test_a_watched_field_of_a_member_touches_its_list(
    before: dict[str, Any], after: dict[str, Any], is_touched: bool
) -> None:
    """A list that shows titles is rebuilt when one of them changes."""
    assert touches(update(before, after), dep.Scope("book", {"category": "scifi"}, ("title",))) is is_touched


def test_in_any_mode_each_event_of_a_member_touches() -> None:
    """Whatever changed of it, and on whichever side of the event it is a member."""
    scope = dep.Scope("book", {"category": "scifi"}, mode="any")

    assert touches(update(book(), book(price=6)), scope)
    assert touches(update(book(), book(category="poetry")), scope)
    assert touches(update(book(), book(), "price"), scope)
    assert not touches(update(book(category="poetry"), book(category="drama")), scope)


def test_a_field_may_be_a_path_into_the_row() -> None:
    """Rows of documents hold objects and lists."""
    scope = dep.Scope("book", {"author.name": "Le Guin", "tags": "new"})
    before = book(author={"name": "Le Guin"}, tags=["old"])

    assert touches(update(before, {**before, "tags": ["old", "new"]}), scope)
    assert not touches(update(before, {**before, "tags": ["old", "odd"]}), scope)


# ---------------------------------------------------------------------------------------------------- what is unknown


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Event.change("book", after={"id": 7}), "the field 'category' is unknown"),
        (update({"id": 7}, book()), "the field 'category' is unknown"),
        (update({}, book()), NO_BEFORE),
        (Event.change("book", after=book(), changed=["category"]), NO_BEFORE),
        (Event.change("book", before=book(), changed=["category"]), NO_AFTER),
        (Event.change("book", after=book(category=["x"] * (MAX_PRODUCT + 1))), "over 1,000 combinations"),
        (Event.change("book", after=book(category={1})), "the field 'category' cannot be compared"),
        (Event.unknown("book"), "the event says that anything may have changed"),
        (Event("book", row=Row("book")), "the event says that anything may have changed"),
    ],
    ids=["create", "partial", "empty", "bulk", "bulk-before", "many", "strange", "unknown", "nothing-said"],
)
def test_what_is_not_known_touches_every_list_of_the_shape(event: Event, reason: str) -> None:
    """And says so, so that somebody may give the missing image."""
    assert reasons(event, SCIFI) == [reason]
    assert widens(event, SCIFI)


def test_a_widening_says_which_shape_and_which_event() -> None:
    """One for each shape, the last, however long the batch is."""
    events = [Event.unknown("book"), Event("a"), update({}, book())]

    touched = touched_by_events(events, index_of([SCIFI]))

    assert touched.widened == (Widening("scope book where category = ...", NO_BEFORE, 2),)
    assert touched.shapes == {shape_and_values(SCIFI)[0].id: 2}


def test_lists_in_both_fields_multiply_up_to_a_limit() -> None:
    """An event cannot cost more than a look at everything of one shape."""
    scope = dep.Scope("book", {"tags": 1, "category": 0})

    assert not widens(Event.change("book", after=book(tags=list(range(500)), category=[0, 1])), scope)
    assert reasons(Event.change("book", after=book(tags=list(range(501)), category=[0, 1])), scope) == [
        "over 1,000 combinations"
    ]


@pytest.mark.parametrize(
    ("event", "is_touched"),
    [
        (Event.change("book", changed=["title"]), False),
        (Event.change("book", changed=[]), False),
        (update({}, {}, "title", "price"), False),
        (update({"category": "poetry"}, {"category": "scifi"}, "category"), True),
        (update({"category": "poetry"}, {"category": "drama"}, "category"), False),
        (Event.change("book", changed=["category.name"]), True),
    ],
    ids=["bulk", "nothing", "empty", "moves-in", "moves-elsewhere", "inside-it"],
)
def test_the_fields_that_changed_answer_for_those_that_an_image_leaves_out(event: Event, is_touched: bool) -> None:
    """What is not named has the same value before and after."""
    assert touches(event, SCIFI) is is_touched


def test_an_unchanged_field_is_read_from_the_image_that_has_it() -> None:
    """So that a bulk update of titles touches the lists that show titles, and no other."""
    scope = dep.Scope("book", {"category": "scifi"}, ("title",))
    for images in ({"before": book()}, {"after": book()}, {"before": {"id": 7}, "after": book()}):
        event = Event.change("book", **images, changed=["title"])

        assert touches(event, scope)
        assert not widens(event, scope)
        assert not touches(event, dep.Scope("book", {"category": "poetry"}, ("title",)))


@pytest.mark.parametrize(
    ("changed", "is_touched"),
    [("author.name", True), ("author", True), ("author.name.first", True), ("author.age", False), ("authors", False)],
)
def test_a_changed_field_is_named_in_part_or_in_full(changed: str, is_touched: bool) -> None:
    """Who names an object that a field stands in, or a part of the field, names the field."""
    scope = dep.Scope("book", watch=("author.name",))

    assert touches(Event.change("book", after=book(), changed=[changed]), scope) is is_touched


@pytest.mark.parametrize(
    ("old", "new", "is_touched"),
    [
        ({"author": {"name": "x"}}, {"author": {"name": "y"}}, True),
        ({"author": {"name": "x", "age": 1}}, {"author": {"name": "x", "age": 2}}, False),
        ({"author": {"name": "7"}}, {"author": {"name": 7}}, True),
        ({"author": {"name": "1.1"}}, {"author": {"name": "1.10"}}, True),
        ({"author": {"name": [[1], [2]]}}, {"author": {"name": [[1, 2]]}}, True),
        ({"author": {"name": [1, 2]}}, {"author": {"name": [1, 2]}}, False),
        ({"author": [{"name": [1]}, {"name": []}]}, {"author": [{"name": []}, {"name": [1]}]}, True),
        ({"author": {"name": "x"}}, {"author": {}}, True),
        ({"author": [{"name": "x"}] * (MAX_PRODUCT + 1)}, {"author": [{"name": "x"}]}, True),
        ({"author": {"name": {1}}}, {"author": {"name": {2}}}, True),
    ],
    ids=[
        "differs",
        "equal",
        "another-form",
        "another-writing",
        "regrouped",
        "equal-list",
        "moved",
        "unknown",
        "many",
        "strange",
    ],
)
def test_a_watched_path_is_compared_by_its_values(old: dict[str, Any], new: dict[str, Any], is_touched: bool) -> None:
    """What cannot be compared may have changed; what has the same text need not be the same."""
    assert touches(update(book(**old), book(**new)), dep.Scope("book", watch=("author.name",))) is is_touched


# -------------------------------------------------------------------------------------------- what the texts do not say


VERSION = dep.Scope("book", {"version": "1.1"})


@pytest.mark.parametrize(
    ("scope", "old", "new", "is_touched"),
    [
        (VERSION, "1.10", "1.1", True),
        (VERSION, "1.1", "1.1", False),
        (VERSION, "1.10", "1.2", True),
        (VERSION, "1.2", "1.3", False),
        (VERSION, ["1.1", "2"], ["1.10", "2"], True),
        (VERSION, ["2", "1.1"], ["1.1", "3"], False),
        (dep.Scope("book", {"version": "2"}), ["1.1", "2"], ["1.10", "2"], False),
        (dep.Scope("book", {"version": con.not_("1.1")}), "1.10", "1.1", True),
        (dep.Scope("book", {"version": con.not_("1.1")}), "1.2", "1.3", False),
        (dep.Scope("book", {"version": con.one_of("1.1", 2)}), "1.10", "2", True),
        (dep.Scope("book", {"version": con.one_of("1.1", 2)}), "1.1", "2", False),
        (dep.Scope("book", {"version": con.one_of("1.10", 2)}), "1.1", "2", True),
        (dep.Scope("book", {"version": con.one_of(1, 2)}), 1, True, True),
        (dep.Scope("book", {"version": con.lt(2)}), "1.1", "1.10", False),
        (dep.Scope("book", {"version": None}), [], [1], True),
        (dep.Scope("book", {"version": None}), [], [None], True),
        (dep.Scope("book", {"version": None}), [1], [2], False),
    ],
)
def test_one_writing_of_a_value_may_be_in_a_list_and_another_not(
    scope: dep.Scope, old: object, new: object, is_touched: bool
) -> None:
    """To a column of texts '1.1' and '1.10' are two versions, so a change from the one to the other touches."""
    assert touches(update(book(version=old), book(version=new)), scope) is is_touched


def test_a_value_in_doubt_touches_the_candidates_of_its_list() -> None:
    """Conditions beside it stay what they were, and decide."""
    event = update(book(version="1.10"), book(version="1.1"))

    assert touches(event, dep.Scope("book", {"version": "1.1", "price": con.lt(10)}))
    assert not touches(event, dep.Scope("book", {"version": "1.1", "price": con.lt(3)}))


def test_what_nobody_can_tell_is_no_news_while_it_stays() -> None:
    """A condition on a field that did not change has the outcome that it had, whichever that is."""
    scope = dep.Scope("book", {"version": con.not_("1.1"), "price": con.lt(10)})

    assert not touches(update(book(version="1.10"), book(version="1.10", price=6)), scope)
    assert touches(update(book(version="1.10"), book(version="1.10", price=11)), scope)
    assert not touches(update(book(version="1.1"), book(version="1.1", price=11)), scope)


ORDERED = dep.Scope("order", {"items.sku": 1, "items.state": 2})
ORDERED_CHEAP = dep.Scope("order", {"items.sku": 1, "items.price": con.lt(10)})


def order(*items: dict[str, object]) -> dict[str, Any]:
    return {"id": 7, "items": list(items), "note": "x"}


@pytest.mark.parametrize(
    ("scope", "old", "new", "is_touched"),
    [
        (
            ORDERED,
            order({"sku": 1, "state": 3}, {"sku": 4, "state": 2}),
            order({"sku": 1, "state": 2}, {"sku": 4, "state": 3}),
            True,
        ),
        (
            ORDERED_CHEAP,
            order({"sku": 1, "price": 30}, {"sku": 4, "price": 2}),
            order({"sku": 1, "price": 2}, {"sku": 4, "price": 30}),
            True,
        ),
        (ORDERED, order({"sku": 1, "state": 2, "n": 1}), order({"sku": 1, "state": 2, "n": 2}), False),
        (ORDERED, order({"sku": 4, "state": 2}, {"sku": 5, "state": 3}), order({"sku": 4, "state": 3}), False),
        (ORDERED, {"items": {"sku": 1, "state": 2}}, {"items": {"sku": 1, "state": 2}, "n": 1}, False),
        (ORDERED, {"items": {"sku": 1, "state": 2}}, {"items": {"sku": 1, "state": 3}}, True),
    ],
    ids=["equal", "filtered", "another-field", "elsewhere", "no-list", "no-list-changed"],
)
def test_conditions_on_one_list_may_have_to_be_met_by_one_element(
    scope: dep.Scope, old: dict[str, Any], new: dict[str, Any], is_touched: bool
) -> None:
    """Which pairs the elements make is not in the texts of either field, so a change of theirs touches."""
    assert touches(Event.change("order", before=old, after=new), scope) is is_touched


@pytest.mark.parametrize(
    ("condition", "old", "new", "is_touched"),
    [
        (con.not_("draft"), ["draft", "a"], ["a"], True),
        (con.not_("draft"), ["a"], ["a", "draft"], True),
        (con.not_("draft"), ["a"], ["b"], False),
        (con.not_("draft"), ["draft"], ["draft", "draft"], False),
        (con.not_(con.one_of("draft", "old")), ["draft", "a"], ["a"], True),
        (con.not_(con.lt(10)), [5, 20], [20], True),
    ],
)
def test_a_list_that_loses_the_element_that_was_excluded_may_enter(
    condition: con.Condition, old: list[object], new: list[object], is_touched: bool
) -> None:
    """Not to have a tag may mean that none of the tags is it, or that any is another."""
    assert touches(update(book(tags=old), book(tags=new)), dep.Scope("book", {"tags": condition})) is is_touched


@pytest.mark.parametrize(
    "event",
    [
        update(book(), book(id=8)),
        update(book(), book(id="7")),
        Event.change("book", after=book(), changed=["id"]),
        update(book(), book(id=8), "price"),
    ],
    ids=["id", "writing", "said", "unsaid"],
)
def test_a_row_that_gets_another_id_touches_its_lists_and_both_objects(event: Event) -> None:
    """One member left, another came, and whatever is watched of the one is not that of the other."""
    assert touches(event, SCIFI)
    assert touches(event, dep.Scope("book"))
    assert touches(event, dep.Id("book", 7, ("title",)))
    assert not touches(event, dep.Scope("book", {"category": "poetry"}))


def test_an_event_that_carries_one_of_two_ids_touches_all_objects() -> None:
    """The other may be anyone."""
    assert reasons(Event.change("book", after=book(id=8), changed=["id"]), dep.Id("book", 7)) == [
        "the event carries one of two ids"
    ]
    assert reasons(update(book(), book(id=8), "id"), dep.Id("book", 7)) == []


def test_a_row_whose_id_is_null_may_be_any_object() -> None:
    """It is saved, and gets its id after the event was made."""
    assert reasons(Event.change("book", after=book(id=None)), dep.Id("book", 7)) == ["the event carries no id"]


def test_images_that_differ_count_for_more_than_what_is_named() -> None:
    """A database sets some fields by itself, and who saved the row does not name them."""
    event = update(book(), book(price=9, category="poetry"), "price")

    assert touches(event, SCIFI)
    assert touches(event, dep.Scope("book", watch=("category",)))
    assert not touches(event, dep.Scope("book", watch=("title",)))
