import msgspec
import pytest

from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.conditions import Condition
from everfresh.model.errors import InvalidDependency

ONE_OF_EACH = (
    dep.Topic("bug.*", {"bug.id": 7}),
    dep.Id("article", 7),
    dep.Scope("article", {"state": "open"}),
    dep.Tag("home"),
    dep.Call("f(1)"),
    dep.Undescribed("article", ("state",)),
)


@pytest.mark.parametrize("pattern", ["a", "*", "#", "bugzilla.bug.*", "#.update", "a.#.b", "*.*", "größe.#"])
def test_a_pattern_is_dotted_words_and_wildcards(pattern: str) -> None:
    """A wildcard takes the place of a whole word."""
    assert dep.Topic(pattern).pattern == pattern


@pytest.mark.parametrize("pattern", ["", ".", "a.", ".a", "a..b", "a b", "a*", "##", "a.b#", "a\ud800", None, 7])
def test_a_pattern_that_no_topic_meets_is_refused(pattern: object) -> None:
    """The entry would never be touched, and nobody would know why."""
    with pytest.raises(InvalidDependency, match="is no pattern"):
        dep.Topic(pattern)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", [None, "bug.id", {"": 7}, {7: 7}], ids=["none", "text", "empty-field", "number"])
def test_a_condition_without_a_field_is_refused(where: object) -> None:
    """A field is a path into the body."""
    with pytest.raises(InvalidDependency, match=r"dep\.Topic: "):
        dep.Topic("bug.*", where)  # type: ignore[arg-type]
    with pytest.raises(InvalidDependency, match=r"dep\.Scope: "):
        dep.Scope("bug", where)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [["a", "b"], ("a",), [], {"a"}], ids=["list", "tuple", "empty", "set"])
def test_a_field_that_should_equal_a_list_is_refused(value: object) -> None:
    """Lists in events are read element by element, so no event would ever touch the entry."""
    with pytest.raises(InvalidDependency, match="one dependency for each element"):
        dep.Topic("bug.*", {"bug.labels": value})


@pytest.mark.parametrize("type_", ["", None, 7])
def test_an_object_needs_a_type(type_: object) -> None:
    """Ids are unique only within a type."""
    with pytest.raises(InvalidDependency, match="is no type"):
        dep.Id(type_, 7)  # type: ignore[arg-type]
    with pytest.raises(InvalidDependency, match=r"dep\.Scope: .* is no type"):
        dep.Scope(type_)  # type: ignore[arg-type]


def test_watched_fields_as_one_text_are_refused() -> None:
    """A text would be read as its letters, which no event changes."""
    with pytest.raises(InvalidDependency, match=r"watch=\('title',\)"):
        dep.Id("article", 7, watch="title")  # type: ignore[arg-type]
    with pytest.raises(InvalidDependency, match=r"watch=\('title',\)"):
        dep.Scope("article", watch="title")  # type: ignore[arg-type]


def test_a_mode_that_does_not_exist_is_refused() -> None:
    """It would be taken for the other one in silence."""
    with pytest.raises(InvalidDependency, match="'all' is no mode"):
        dep.Scope("article", mode="all")  # type: ignore[arg-type]


def test_to_watch_fields_in_any_event_is_refused() -> None:
    """Somebody expects fewer builds from it, and there would be none fewer."""
    with pytest.raises(InvalidDependency, match="each event of a member touches, so watch"):
        dep.Scope("article", watch=("title",), mode="any")


def test_a_condition_may_stand_where_a_value_does() -> None:
    """In both kinds that ask for fields."""
    where = {"price": con.lt(9), "genre": "sf"}

    assert dep.Topic("book.#", where).where == dep.Scope("book", where).where == where


@pytest.mark.parametrize("name", ["", None])
def test_a_tag_needs_a_name(name: object) -> None:
    """Nobody would think of invalidating the empty name."""
    with pytest.raises(InvalidDependency, match="Give it one"):
        dep.Tag(name)


@pytest.mark.parametrize("name", [0, False, "0"], ids=repr)
def test_a_tag_may_be_any_value(name: object) -> None:
    """Zero is a name like any other."""
    assert dep.Tag(name).name is name


def test_an_argument_stands_for_a_parameter() -> None:
    """It carries the name alone; the call gives the value."""
    assert dep.arg("email") == dep.Argument("email")


X, Y = dep.arg("x"), dep.arg("y")


@pytest.mark.parametrize(
    ("declared", "dependency"),
    [
        (dep.Topic("a", {"x": X, "y": 2}), dep.Topic("a", {"x": 1, "y": 2})),
        (dep.Id("a", Y, ("t",)), dep.Id("a", 2, ("t",))),
        (dep.Tag(X), dep.Tag(1)),
        (dep.Scope("a", {"x": con.gt(X)}, ("t",)), dep.Scope("a", {"x": con.gt(1)}, ("t",))),
        (dep.Scope("a", {"x": con.between(X, Y)}, mode="any"), dep.Scope("a", {"x": con.between(1, 2)}, mode="any")),
        (dep.Topic("a", {"x": con.not_(con.one_of(X, Y, 3))}), dep.Topic("a", {"x": con.not_(con.one_of(1, 2, 3))})),
        (dep.Topic("a", {"x": con.not_(Y)}), dep.Topic("a", {"x": con.not_(2)})),
    ],
    ids=["topic", "id", "tag", "scope", "between", "one-of", "not"],
)
def test_an_argument_may_stand_wherever_a_value_does(declared: dep.Dependency, dependency: dep.Dependency) -> None:
    """Each call of the function has a dependency of its own, and no place is forgotten when it is filled."""
    names = {argument.name for argument in dep.arguments_of(declared)}
    filled = dep.filled(declared, {"x": 1, "y": 2})

    assert names
    assert filled == dependency
    assert dep.arguments_of(filled) == []


@pytest.mark.parametrize("dependency", ONE_OF_EACH, ids=lambda declared: type(declared).__name__)
def test_a_dependency_without_arguments_stays_as_it_is(dependency: dep.Dependency) -> None:
    """It is the same for all calls."""
    assert dep.arguments_of(dependency) == []
    assert dep.filled(dependency, {}) == dependency


@pytest.mark.parametrize("values", [[1, 2], (1, 2), {1, 2}, frozenset({1, 2})], ids=lambda value: type(value).__name__)
def test_a_list_given_for_one_of_counts_by_its_elements(values: object) -> None:
    """A function that takes several categories depends on each."""
    filled = dep.filled(dep.Scope("a", {"x": con.one_of(X, 3)}), {"x": values})

    assert filled == dep.Scope("a", {"x": con.one_of(1, 2, 3)})


def test_an_empty_list_given_for_one_of_is_met_by_nothing() -> None:
    """The caller asked for no categories at all, which is no mistake of the declaration."""
    assert dep.filled(dep.Scope("a", {"x": con.one_of(X)}), {"x": []}) == dep.Scope("a", {"x": Condition("one_of", ())})


def test_an_argument_that_cannot_stand_in_its_place_is_refused() -> None:
    """There is no dependency to build with."""
    with pytest.raises(InvalidDependency, match="has no order"):
        dep.filled(dep.Scope("a", {"x": con.lt(X)}), {"x": None})


@pytest.mark.parametrize("declared", [*ONE_OF_EACH, dep.arg("id")], ids=lambda declared: type(declared).__name__)
def test_a_declared_dependency_cannot_be_changed(declared: msgspec.Struct) -> None:
    """All calls of the function share it."""
    with pytest.raises(AttributeError):
        setattr(declared, declared.__struct_fields__[0], None)


def test_dependencies_pass_the_check_as_they_are() -> None:
    """Whoever checks goes on with what was checked, in its order."""
    assert dep.check_dependencies(iter(ONE_OF_EACH)) == ONE_OF_EACH


@pytest.mark.parametrize("alone", [*ONE_OF_EACH, None, 7], ids=lambda alone: type(alone).__name__)
def test_a_dependency_without_its_list_is_refused(alone: object) -> None:
    """The comma or the brackets were forgotten, and the message shows them."""
    with pytest.raises(InvalidDependency, match=r"is no list\. Write \[dep\."):
        dep.check_dependencies(alone)


@pytest.mark.parametrize("stranger", ["article:7", None, dep.arg("id"), dep.Topic])
def test_a_stranger_among_dependencies_is_refused(stranger: object) -> None:
    """What is no dependency would otherwise be forgotten in silence."""
    with pytest.raises(InvalidDependency, match=r"is none\. Use dep\.Topic"):
        dep.check_dependencies([*ONE_OF_EACH, stranger])
