import sys
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.paths import (
    ABSENT,
    is_named,
    known_values_at,
    leads_through_list,
    values_at,
    whole_at,
)
from everfresh.matching.sameness import are_same

N_MAX = 100
WORDS = st.sampled_from(["a", "b", "a.b", "b.c"])
BODIES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("body", "path", "values"),
    [
        ({"bug": {"id": 7}}, "bug.id", [7]),
        ({"bug": {"id": None}}, "bug.id", [None]),
        ({"bug": {}}, "bug.id", []),
        ({"bug": 7}, "bug.id", []),
        ({}, "bug", []),
        ({"bug": {"id": 7}}, "bug", [{"id": 7}]),
        ({"labels": ["a", "b"]}, "labels", ["a", "b"]),
        ({"labels": []}, "labels", []),
        ({"labels": ("a", ["b", ["c"]])}, "labels", ["a", "b", "c"]),
        ({"bugs": [{"id": 7}, {"name": "x"}, {"id": 8}]}, "bugs.id", [7, 8]),
        ([{"id": 7}, {"id": 8}], "id", [7, 8]),
        ({"bug": {"ids": [7, 8]}}, "bug.ids", [7, 8]),
        (MappingProxyType({"bug": 7}), "bug", [7]),
        ({"text": "abc"}, "text", ["abc"]),
        ({"text": "abc"}, "text.a", []),
    ],
    ids=str,
)
def test_a_path_leads_to_every_value_that_stands_there(body: object, path: str, values: list[object]) -> None:
    """A list on the way, or at the end, gives one value for each element."""
    assert values_at(body, path, n_max=N_MAX) == values


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"a.b": 7}, "a.b"),
        ({"a": {"b.c": 7}}, "a.b.c"),
        ({"a.b": {"c": 7}}, "a.b.c"),
        ({"a.b.c": {"d.e": 7}}, "a.b.c.d.e"),
        ({"a.": {"b": 7}}, "a..b"),
        ({"": {"a": 7}}, ".a"),
        ({"a.": 7}, "a."),
    ],
    ids=str,
)
def test_a_key_may_hold_dots(body: object, path: str) -> None:
    """Messages carry names of hosts and labels as keys."""
    assert values_at(body, path, n_max=N_MAX) == [7]


def test_a_path_that_can_be_read_in_two_ways_is_read_in_both() -> None:
    """A needless rebuild costs little, a missed one is a bug."""
    assert sorted(values_at({"a.b": 1, "a": {"b": 2}}, "a.b", n_max=N_MAX) or []) == [1, 2]


def every_way(node: object, words: list[str]) -> list[object]:
    """All values at the path, found by trying each way to join its words."""
    if isinstance(node, list):
        return [value for element in node for value in every_way(element, words)]
    if not words:
        return [node]
    if not isinstance(node, dict):
        return []
    ways = [(".".join(words[:n]), words[n:]) for n in range(1, len(words) + 1)]
    return [value for head, rest in ways if head in node for value in every_way(node[head], rest)]


@given(BODIES, st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_no_value_at_a_path_is_missed(body: object, words: list[str]) -> None:
    """It finds what trying every way finds."""
    found = values_at(body, ".".join(words), n_max=N_MAX)

    assert found is not None
    assert sorted(map(repr, found)) == sorted(map(repr, every_way(body, words)))


@pytest.mark.parametrize(
    "body",
    [
        {"a": list(range(N_MAX + 1))},
        {"a": [[n, n] for n in range(N_MAX)]},
        {"a": [{}] * N_MAX + [7]},
        {"a": [{"b": 1}] * N_MAX * 2},
    ],
    ids=["flat", "nested", "last", "other-fields"],
)
def test_more_values_than_can_be_looked_at_are_unknown(body: object) -> None:
    """That is told apart from none, so that nothing that stands further on is missed."""
    assert values_at(body, "a", n_max=N_MAX) is None


def test_a_value_at_the_end_of_a_long_list_is_not_missed() -> None:
    """The elements before it need not have the field at all."""
    body = {"a": [{}] * N_MAX + [{"b": 7}]}

    assert values_at(body, "a.b", n_max=N_MAX) is None
    assert values_at(body, "a.b", n_max=N_MAX + 1) == [7]


def test_a_body_may_be_nested_deeper_than_python_calls() -> None:
    """Bodies come from outside."""
    body: object = 7
    for _ in range(sys.getrecursionlimit() + 1):
        body = [body]

    assert values_at(body, "", n_max=N_MAX) == [7]


def test_a_body_without_an_end_is_not_gone_through() -> None:
    """A list in itself, or one body that stands in itself a million times, would hold up everybody."""
    endless: list[object] = []
    endless.append(endless)

    assert values_at(endless, "a", n_max=N_MAX) is None


@pytest.mark.parametrize(
    ("image", "path", "values"),
    [
        ({"title": None}, "title", [None]),
        ({"tags": []}, "tags", []),
        ({"tags": ["a", "b"]}, "tags", ["a", "b"]),
        ({"author": {"name": "x"}}, "author.name", ["x"]),
        ({"author.name": "x"}, "author.name", ["x"]),
        ({"authors": [{"name": "x"}, {"name": "y"}]}, "authors.name", ["x", "y"]),
        ({"authors": []}, "authors.name", []),
        ({}, "title", ABSENT),
        ({"author": {}}, "author.name", ABSENT),
        ({"author": 7}, "author.name", ABSENT),
        ({"authors": [{"name": "x"}, {}]}, "authors.name", ABSENT),
        ({"tags": ["a"] * (N_MAX + 1)}, "tags", None),
    ],
    ids=lambda value: "absent" if value is ABSENT else str(value),
)
def test_a_field_that_an_image_does_not_say_in_full_is_unknown(
    image: dict[str, object], path: str, values: object
) -> None:
    """It is told apart from null, from an empty list, and from more than can be looked at."""
    assert known_values_at(image, path, n_max=N_MAX) == values


@pytest.mark.parametrize(
    ("old", "new", "is_whole_same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": [1]}, False),
        ({"a": {"b": [[1], [2]]}}, {"a": {"b": [[1, 2]]}}, False),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1, "c": 3}, {"b": 2}]}, True),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [[{"b": 1}], [{"b": 2}]]}, False),
        ({"a": [[{"b": 1}], [{"b": 2}, {"b": 3}]]}, {"a": [[{"b": 1}, {"b": 2}], [{"b": 3}]]}, False),
        ({"a": [{"b": 1}]}, {"a": {"b": 1}}, False),
        ({"a": [1, {}]}, {"a": [1, {}]}, True),
        ({"a.b": 1}, {"a": {"b": 1}}, False),
        (MappingProxyType({"a": 1}), MappingProxyType({"a": 1}), True),
    ],
    ids=repr,
)
def test_the_whole_of_a_field_keeps_which_element_stands_where(
    old: dict[str, object], new: dict[str, object], is_whole_same: bool
) -> None:
    """A page may show the lists as they are nested, and conditions may speak of one element."""
    path = "a.b" if "b" in str(old) else "a"

    before, after = whole_at(old, path), whole_at(new, path)

    assert before is not None
    assert after is not None
    assert are_same(before, after) is is_whole_same


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ({}, "a"),
        ({"b": 1}, "a"),
        ({"a": {}}, "a.b"),
        ({"a": 7}, "a.b"),
        ({"a": [{"b": 1}, {}]}, "a.b"),
        ({"a": [[[0] * 1_000] * 100] * 2}, "a.b"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_whole_of_a_field_is_unknown_where_any_part_is(image: dict[str, object], path: str) -> None:
    """It is absent from some element, or too large to go through."""
    assert whole_at(image, path) is None


@pytest.mark.parametrize(
    ("image", "path", "is_through_list"),
    [
        ({"a": [{"b": {"c": 1}}]}, "a", True),
        ({"a": [{"b": {"c": 1}}]}, "a.b", True),
        ({"a": {"b": [1]}}, "a", False),
        ({"a": {"b": [1]}}, "a.b", True),
        ({"a.b": [1], "a": {"b": 1}}, "a.b", True),
        ({}, "a", False),
        (None, "a", False),
        ({"a": 1}, "a.b", False),
    ],
    ids=str,
)
def test_a_list_on_the_way_is_seen(image: object, path: str, is_through_list: bool) -> None:
    """From there on a path has as many ends as it has elements."""
    assert leads_through_list(image, path) is is_through_list


@pytest.mark.parametrize(
    ("path", "names", "is_among"),
    [
        ("a", ["a"], True),
        ("a.b", ["a"], True),
        ("a", ["x", "a.b"], True),
        ("a", ["ab", "b.a"], False),
        ("a", [], False),
    ],
)
def test_a_field_is_named_by_its_parts_and_by_what_it_stands_in(path: str, names: list[str], is_among: bool) -> None:
    """Each of them changes with the others."""
    assert is_named(path, names) is is_among
