import msgspec
import pytest

from everfresh.model import dependency as dep
from everfresh.model.errors import InvalidDependency

ONE_OF_EACH = (dep.Topic("bug.*", {"bug.id": 7}), dep.Id("article", 7), dep.Tag("home"), dep.Call("f(1)"))


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


@pytest.mark.parametrize("value", [["a", "b"], ("a",), []], ids=["list", "tuple", "empty"])
def test_a_field_that_should_equal_a_list_is_refused(value: object) -> None:
    """Lists in events are read element by element, so no event would ever touch the entry."""
    with pytest.raises(InvalidDependency, match="one dependency for each element"):
        dep.Topic("bug.*", {"bug.labels": value})


@pytest.mark.parametrize("type_", ["", None, 7])
def test_an_object_needs_a_type(type_: object) -> None:
    """Ids are unique only within a type."""
    with pytest.raises(InvalidDependency, match="is no type"):
        dep.Id(type_, 7)  # type: ignore[arg-type]


def test_watched_fields_as_one_text_are_refused() -> None:
    """A text would be read as its letters, which no event changes."""
    with pytest.raises(InvalidDependency, match=r"watch=\('title',\)"):
        dep.Id("article", 7, watch="title")  # type: ignore[arg-type]


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
