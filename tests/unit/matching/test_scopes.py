import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.scopes import Scopes
from everfresh.matching.triage import Touched, touched_by_events
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.errors import InvalidDependency
from everfresh.model.event import Event
from tests.unit.matching.triaging import index_of, is_in


@dataclass(frozen=True)
class Book:
    category: str = "scifi"
    status: str = "out"
    title: str = "x"


@dataclass
class Outbox:
    """A cache that only notes what it was told."""

    production_mode: bool = False
    events: list[Event] = field(default_factory=list[Event])

    def publish(self, *events: Event) -> int:
        self.events.extend(events)
        return len(events)


def make_scopes() -> Scopes:
    scopes = Scopes(Book)

    @scopes.describes("category", "published", watch=("category", "status"))
    def listed(book: Book) -> Mapping[str, object]:
        return {"category": book.category, "published": book.status == "out"}

    return scopes


def touched_lists(
    scopes: Scopes, lists: Sequence[dep.Dependency], obj: object, *, is_production: bool = False, **said: object
) -> list[dep.Dependency]:
    """Those of the lists that `invalidate_for` touches, with what else is `said` of the object."""
    outbox = Outbox(is_production)
    scopes.invalidate_for(obj, outbox, **cast("dict[str, Any]", said))
    touched: Touched = touched_by_events(outbox.events, index_of(lists))
    return [dependency for dependency in lists if is_in(dependency, touched)]


SCOPES = make_scopes()
ALL = SCOPES.condition()
SCIFI, POETRY = SCOPES.condition(category="scifi"), SCOPES.condition(category="poetry")
SCIFI_OUT, SCIFI_DRAFT, POETRY_OUT = (
    SCOPES.condition(category=category, published=published)
    for category, published in (("scifi", True), ("scifi", False), ("poetry", True))
)
TITLES = SCOPES.condition(category="scifi", watch=("title",))
NOT_POETRY = SCOPES.condition(category=con.not_("poetry"))
LISTS = [ALL, SCIFI, POETRY, SCIFI_OUT, SCIFI_DRAFT, POETRY_OUT, TITLES, NOT_POETRY]


# ------------------------------------------------------------------------------------------------------- the condition


def test_a_condition_is_the_list_with_these_values() -> None:
    """As if the derived values were fields of a row."""
    assert SCOPES.type == "Book"
    assert dep.Scope("Book", {"category": "scifi", "published": True}) == SCIFI_OUT
    assert dep.Scope("Book", {"category": "scifi"}, ("title",)) == TITLES
    assert dep.Scope("Book") == ALL
    assert SCOPES.condition(category=dep.arg("x")) == dep.Scope("Book", {"category": dep.arg("x")})


def test_a_condition_that_no_description_covers_says_so() -> None:
    """Nobody can tell who enters such a list, so the cache must know."""
    scopes = make_scopes()
    scopes.describes("mood")(lambda _book: None)

    assert scopes.condition(mood="dark", category="scifi") == dep.Undescribed("Book", ("category", "mood"))
    assert scopes.condition(mood="dark") == dep.Scope("Book", {"mood": "dark"})
    assert Scopes("book").condition(mood="dark") == dep.Undescribed("book", ("mood",))
    assert Scopes("book").condition() == dep.Scope("book")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scopes(""),
        lambda: Scopes(7),  # type: ignore[arg-type]
        lambda: Scopes("a b"),
        lambda: SCOPES.describes("watch"),
        lambda: SCOPES.describes(""),
        lambda: SCOPES.describes(7),  # type: ignore[arg-type]
        lambda: SCOPES.describes("category", watch="status"),
        lambda: SCOPES.condition(category=["scifi"]),
        lambda: SCOPES.condition(watch="title"),
        lambda: SCOPES.invalidate_for(Book(), Outbox(), modified="title"),
    ],
    ids=["empty", "number", "spaces", "watch", "no-name", "name", "text", "list", "watch-text", "modified"],
)
def test_what_describes_nothing_is_refused(make: Callable[[], object]) -> None:
    """Where it is written, and not when the first object changes."""
    with pytest.raises(InvalidDependency):
        make()


def test_a_description_cannot_wait() -> None:
    """It is asked while somebody saves an object."""

    async def listed(_book: Book) -> None: ...

    with pytest.raises(InvalidDependency, match="listed is async"):
        SCOPES.describes("category")(listed)


def test_what_the_cache_answers_is_passed_on() -> None:
    """So that an asynchronous cache is awaited, and others are not."""
    assert SCOPES.invalidate_for(Book(), Outbox()) == 1


# ------------------------------------------------------------------------------------------------- what it touches


def test_a_new_object_touches_the_lists_that_it_stands_in_and_the_whole_list() -> None:
    """The same goes for one that was deleted, or that changed in a way that nobody knows."""
    assert touched_lists(SCOPES, LISTS, Book()) == [ALL, SCIFI, SCIFI_OUT, TITLES, NOT_POETRY]


def test_with_the_object_as_it_was_exactly_the_lists_that_it_left_and_entered_are_touched() -> None:
    """Both ends of a move are known."""
    moved = touched_lists(SCOPES, LISTS, Book(category="poetry"), modified={"category"}, previous=Book())
    retired = touched_lists(SCOPES, LISTS, Book(status="draft"), modified={"status"}, previous=Book())
    unmoved = touched_lists(SCOPES, LISTS, Book(status="sold"), modified={"status"}, previous=Book(status="draft"))

    assert moved == [SCIFI, POETRY, SCIFI_OUT, POETRY_OUT, TITLES, NOT_POETRY]
    assert retired == [SCIFI_OUT, SCIFI_DRAFT]
    assert unmoved == []


def test_without_knowing_what_changed_a_watched_field_may_have() -> None:
    """The derived values do not hold it."""
    touched = touched_lists(SCOPES, LISTS, Book(status="draft"), previous=Book())

    assert touched == [SCIFI_OUT, SCIFI_DRAFT, TITLES]


def test_without_the_object_as_it_was_it_may_have_stood_anywhere() -> None:
    """What derives from the changed field is unknown as it was, and so is whether it was listed at all."""
    assert touched_lists(SCOPES, LISTS, Book(), modified={"category"}) == LISTS


def test_a_field_that_did_not_change_tells_where_the_object_stood() -> None:
    """When each value is a field of its own."""
    scopes = Scopes("Book")
    scopes.describes("category", "status")(lambda book: {"category": book.category, "status": book.status})
    lists = [scopes.condition(category=name, status=con.one_of("out", "draft")) for name in ("scifi", "poetry")]

    assert touched_lists(scopes, lists, Book(), modified={"status"}) == lists[:1]
    assert touched_lists(scopes, lists, Book(), modified={"category"}) == lists


@pytest.mark.parametrize("previous", [None, Book(title="y")], ids=["alone", "previous"])
def test_a_change_that_no_description_watches_runs_none(previous: Book | None) -> None:
    """Descriptions may ask a database; those who watch the field are touched all the same."""
    scopes = make_scopes()
    asked: list[object] = []
    scopes.describes("mood")(asked.append)

    touched = touched_lists(scopes, LISTS, Book(), modified={"title"}, previous=previous)

    assert touched == [TITLES]
    assert asked == []


def test_to_modify_nothing_touches_nothing() -> None:
    """Who saves an object unchanged publishes no event."""
    outbox = Outbox()

    assert SCOPES.invalidate_for(Book(), outbox, modified=set()) == 0
    assert outbox.events == []


def test_an_object_that_a_description_ignores_touches_nothing() -> None:
    """It is never listed; that nothing was known of it before does not matter."""
    scopes = Scopes("Book")
    scopes.describes("category")(lambda _book: None)

    assert touched_lists(scopes, LISTS, Book()) == []
    assert touched_lists(scopes, LISTS, Book(), modified={"category"}) == []
    assert touched_lists(scopes, LISTS, Book(), previous=Book()) == []


def test_an_object_that_is_in_no_list_by_now_may_have_left_any() -> None:
    """Which, only the object as it was can tell."""
    scopes = Scopes("Book")
    scopes.describes("category")(lambda book: {"category": book.category} if book.status == "out" else [])
    lists = [ALL, SCIFI, POETRY]
    draft = Book(status="draft")

    assert touched_lists(scopes, lists, draft) == []
    assert touched_lists(scopes, lists, draft, modified={"category"}) == lists
    assert touched_lists(scopes, lists, draft, previous=Book()) == [ALL, SCIFI]
    assert touched_lists(scopes, lists, Book(), previous=draft) == [ALL, SCIFI]


def test_an_object_may_stand_in_several_lists() -> None:
    """Each of its values is one; those that it keeps are not touched."""
    scopes = Scopes("Post")
    scopes.describes("tag", watch=("tags",))(lambda tags: [{"tag": tag} for tag in tags])
    lists = [scopes.condition(tag=tag) for tag in "abcd"]

    assert touched_lists(scopes, lists, ("a", "b")) == lists[:2]
    assert touched_lists(scopes, lists, ("a", "b"), modified={"tags"}, previous=("b", "c")) == [lists[0], lists[2]]
    assert touched_lists(scopes, lists, ("a",), previous=("a", "b", "c")) == lists[1:3]
    assert touched_lists(scopes, lists, ("a", "b", "c"), previous=("a",)) == lists[1:3]


def test_what_is_listed_several_times_may_have_been_listed_anyhow() -> None:
    """Each of its values may have gone with the one that changed."""
    scopes = Scopes("Post")
    scopes.describes("tag", "shelf")(lambda tags: [{"tag": tag, "shelf": tag.upper()} for tag in tags])
    lists = [scopes.condition(shelf=shelf) for shelf in "AB"]

    assert touched_lists(scopes, lists, ("a",), modified={"tag"}) == lists


def test_a_description_may_write_its_values_anew() -> None:
    """What two objects have in one text need not be the same."""
    scopes = Scopes("Package")
    scopes.describes("version", "size")(lambda package: package)
    lists = [scopes.condition(version="1.1"), scopes.condition(version="2"), scopes.condition(version=con.not_("1.1"))]
    packages = [{"version": version, "size": 1} for version in ("1.1", "1.10")]

    moved = touched_lists(scopes, lists, packages[0], previous=packages[1])
    said = touched_lists(scopes, lists, packages[0], previous=packages[1], modified={"version"})
    stayed = touched_lists(scopes, lists, dict(reversed(packages[0].items())), previous=packages[0])

    assert moved == said == [lists[0], lists[2]]
    assert stayed == []


@pytest.mark.parametrize("modified", ["author", "author.name", "author.name.first"])
def test_a_modified_field_is_named_in_part_or_in_full(modified: str) -> None:
    """As in the events of rows."""
    scopes = Scopes("Book")
    scopes.describes("author.name")(lambda name: {"author.name": name})
    lists = [scopes.condition(**{"author.name": name}) for name in ("x", "y")]

    assert touched_lists(scopes, lists, "x", modified={modified}, previous="y") == lists
    assert touched_lists(scopes, lists, "x", modified={modified}) == lists
    assert touched_lists(scopes, lists, "x", modified={"author.age"}) == []


def test_a_type_without_a_description_still_has_the_whole_list() -> None:
    """Objects enter and leave it."""
    scopes = Scopes("Book")
    whole, titles = scopes.condition(), scopes.condition(watch=("title",))

    assert touched_lists(scopes, [whole, titles], Book()) == [whole, titles]
    assert touched_lists(scopes, [whole, titles], Book(), modified={"title"}, previous=Book()) == [titles]
    assert touched_lists(scopes, [whole, titles], Book(), modified={"status"}, previous=Book()) == []


BOOKS = st.builds(Book, st.sampled_from(["scifi", "poetry"]), st.sampled_from(["out", "draft"]), st.sampled_from("xy"))


@given(BOOKS, BOOKS, st.booleans())
def test_no_list_that_changed_is_missed(before: Book, after: Book, says_previous: bool) -> None:
    """Whatever is said beside the object, the lists that gained or lost it, or show its new title, are touched."""
    members = {
        id(ALL): lambda _book: True,
        id(SCIFI): lambda book: book.category == "scifi",
        id(POETRY): lambda book: book.category == "poetry",
        id(SCIFI_OUT): lambda book: (book.category, book.status) == ("scifi", "out"),
        id(SCIFI_DRAFT): lambda book: (book.category, book.status) == ("scifi", "draft"),
        id(POETRY_OUT): lambda book: (book.category, book.status) == ("poetry", "out"),
        id(TITLES): lambda book: book.category == "scifi",
        id(NOT_POETRY): lambda book: book.category != "poetry",
    }
    modified = {name for name in ("category", "status", "title") if getattr(before, name) != getattr(after, name)}
    news = [
        scope
        for scope in LISTS
        if members[id(scope)](before) != members[id(scope)](after)
        or (scope is TITLES and "title" in modified and members[id(scope)](after))
    ]

    touched = touched_lists(SCOPES, LISTS, after, modified=modified, previous=before if says_previous else None)

    assert [scope for scope in news if scope not in touched] == []
    # A field that no description watches is not asked for, so who watches it is touched wherever the object stands.
    if says_previous and modified != {"title"}:
        assert touched == news


# --------------------------------------------------------------------------------------------------- what goes wrong


def raises(_book: Book) -> object:
    raise OSError("no such shelf")


BAD: list[Callable[[Book], object]] = [
    raises,
    lambda _book: 7,
    lambda _book: {"category": "scifi"},
    lambda _book: {"category": "scifi", "published": True, "mood": "dark"},
    lambda _book: [{"category": "scifi", "published": True}, None],
    lambda _book: {"category": object(), "published": True},
]


@pytest.mark.parametrize("bad", BAD, ids=["raises", "number", "missing", "surplus", "none-inside", "strange"])
@pytest.mark.parametrize("modified", [None, {"category"}], ids=["unknown", "modified"])
def test_a_broken_description_is_an_error_in_development(
    bad: Callable[[Book], object], modified: set[str] | None
) -> None:
    """It names the type and the function, and nothing was published."""
    scopes = make_scopes()
    scopes.describes("category", "published")(bad)
    outbox = Outbox()

    with pytest.raises(InvalidDependency, match=r"Scopes\('Book'\): .* failed for an object") as raised:
        scopes.invalidate_for(Book(), outbox, modified=modified)

    assert raised.value.__cause__ is not None
    assert outbox.events == []


@pytest.mark.parametrize("bad", BAD, ids=["raises", "number", "missing", "surplus", "none-inside", "strange"])
def test_a_broken_description_touches_every_list_in_production(
    bad: Callable[[Book], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing stale is shown, whoever saved the object is not stopped, and it is said."""
    scopes = make_scopes()
    scopes.describes("category", "published")(bad)
    lists = [*LISTS, dep.Scope("Book", {"anything": 1}), dep.Undescribed("Book", ("mood",)), dep.Scope("Film")]

    with caplog.at_level(logging.WARNING), pytest.warns(RuntimeWarning, match="Every list of the type is touched"):
        touched = touched_lists(scopes, lists, Book(), is_production=True)

    assert touched == lists[:-1]
    assert [record.name for record in caplog.records] == ["everfresh.scopes"]


def test_a_description_that_breaks_on_the_object_as_it_was_is_broken_too() -> None:
    """Half of a move is no answer."""
    scopes = Scopes("Book")
    scopes.describes("category")(lambda book: {"category": book.category})

    with pytest.raises(InvalidDependency, match="AttributeError"):
        scopes.invalidate_for(Book(), Outbox(), previous="a book")


def test_what_was_described_does_not_change_with_the_object() -> None:
    """A transaction publishes at its end, when the values may be others."""
    tags = ["new"]
    shared: dict[str, object] = {"category": "scifi", "tags": tags}
    scopes = Scopes("Book")
    scopes.describes("category", "tags")(lambda _book: shared)
    outbox = Outbox()

    scopes.invalidate_for(Book(), outbox)
    shared["category"] = "poetry"
    tags.append("old")

    assert outbox.events[0].row is not None
    assert outbox.events[0].row.after == {"category": "scifi", "tags": ["new"]}
