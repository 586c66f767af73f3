"""Topic patterns among themselves, and what events could touch of which only the topics are known."""

from functools import cache
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everfresh.matching.covering import covers, may_meet, touched_by_patterns, without_covered
from everfresh.matching.index import ShapeIndex
from everfresh.matching.shapes import CALL_SHAPE, TAG_SHAPE, Shape, predicate_shape
from everfresh.matching.topics import TopicTrie
from everfresh.matching.triage import Touched
from everfresh.model import dependency as dep
from tests.unit.matching.triaging import shapes_of

PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=3).map(".".join)
# No pattern names "c". Two patterns of three words that have a topic in common have one of six, or a shorter one.
TOPICS = [".".join(words) for n_words in range(1, 7) for words in product("abc", repeat=n_words)]


@cache
def topics_of(pattern: str) -> frozenset[str]:
    """All of the topics that match."""
    trie: TopicTrie[str] = TopicTrie()
    trie.add(pattern, pattern)
    return frozenset(topic for topic in TOPICS if trie.matching(topic))


@given(PATTERNS, PATTERNS)
@example("#", "#")
@example("a.#", "#.b")
@example("#.a.#", "*.b.*")
@example("a.*", "#.*.a")
@example("*.*", "a")
def test_two_patterns_meet_where_a_topic_matches_both(one: str, other: str) -> None:
    """As trying every topic says."""
    assert may_meet(one, other) == bool(topics_of(one) & topics_of(other))


@given(PATTERNS, PATTERNS)
@example("#", "*.#")
@example("*.#", "#")
@example("#.*", "*.#")
@example("*.#", "#.a")
@example("#.#", "#")
@example("a.#", "a")
@example("*.*", "#.a")
@example("a.*.#", "a.#")
def test_a_pattern_covers_another_when_all_its_topics_match(wide: str, narrow: str) -> None:
    """As trying every topic says."""
    assert covers(wide, narrow) == (topics_of(narrow) <= topics_of(wide))


def test_many_wildcards_cost_no_more_than_they_are_long() -> None:
    """Each place of one pattern meets each of the other once, not in every way that leads there."""
    one, other = ".".join(["#", "a"] * 100), ".".join(["#", "b"] * 100)

    assert not may_meet(one, other)
    assert not covers(one, other)


@given(st.lists(PATTERNS))
@example(["#.*", "*.#", "#"])
def test_what_is_left_matches_the_same_and_nothing_of_it_is_covered(patterns: list[str]) -> None:
    """A bus is asked for each topic once, in an order that does not depend on how they came."""
    left = without_covered(patterns)

    assert set(left) <= set(patterns)
    assert frozenset().union(*map(topics_of, left)) == frozenset().union(*map(topics_of, patterns))
    assert not any(covers(wide, narrow) for wide in left for narrow in left if wide != narrow)
    assert list(left) == sorted(left)


@given(
    st.lists(PATTERNS, max_size=4, unique=True),
    st.lists(st.sampled_from(["a", "b", "a.b", "b.a"]), max_size=3, unique=True),
    st.lists(PATTERNS, max_size=3),
)
def test_whole_shapes_are_touched_that_some_topic_meets(own: list[str], types: list[str], given_: list[str]) -> None:
    """Topics as they match, objects and lists under every topic of one word more than their type."""
    known = [(dep.Topic(pattern), pattern) for pattern in own] + [(dep.Id(one, 7), f"{one}.*") for one in types]
    index = ShapeIndex()
    index.learn(0, shapes_of(dependency for dependency, _ in known))

    touched = touched_by_patterns(given_, index)

    lost = frozenset().union(*map(topics_of, given_))
    expected = [dependency for dependency, pattern in known if topics_of(pattern) & lost]
    assert touched == Touched(shapes={shape.id: 0 for shape in shapes_of(expected)})


@pytest.mark.parametrize(
    "pattern", ["article.create", "article.update", "article.delete", "article.*", "#", "*.update"]
)
def test_rows_stand_under_the_topics_of_their_changes(pattern: str) -> None:
    """Whatever is watched of them, and whatever a list asks for."""
    shapes = shapes_of(
        [
            dep.Id("article", 7, ("title",)),
            dep.Scope("article", {"author": 1}),
            dep.Scope("article"),
            dep.Undescribed("article", ("author",)),
        ]
    )

    assert set(touched_of([pattern], *shapes).shapes) == {shape.id for shape in shapes}
    assert touched_of(["author.#", "article", "article.a.b"], *shapes) == Touched()


def test_predicates_are_touched_without_being_asked() -> None:
    """Nobody knows what to ask them about."""
    shape = predicate_shape("bug.*", "f")

    assert touched_of(["bug.new", "#"], shape) == Touched(shapes={shape.id: 0})
    assert touched_of(["build.#"], shape) == Touched()


def test_no_topic_meets_tags_and_calls() -> None:
    """They are touched by name, and by what becomes of other entries."""
    assert touched_of(["#"], TAG_SHAPE, CALL_SHAPE) == Touched()


def test_values_do_not_matter() -> None:
    """A lost event may have had any."""
    shape = shapes_of([dep.Topic("bug.*", {"id": 7})])[0]

    assert touched_of(["bug.new"], shape) == Touched(shapes={shape.id: 0})


def touched_of(patterns: list[str], *shapes: Shape) -> Touched:
    """What the patterns touch of these shapes."""
    index = ShapeIndex()
    index.learn(0, shapes)
    return touched_by_patterns(patterns, index)
