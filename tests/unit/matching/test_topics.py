import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from everfresh.matching.topics import TopicTrie

WORDS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(WORDS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.lists(WORDS | st.sampled_from(["*", "#"]), min_size=1, max_size=5).map(".".join)


def matches(pattern: list[str], topic: list[str]) -> bool:
    """AMQP's rule, as it is written down: `*` is exactly one word, `#` is zero or more."""
    if not pattern:
        return not topic
    if pattern[0] == "#":
        return any(matches(pattern[1:], topic[n:]) for n in range(len(topic) + 1))
    return bool(topic) and pattern[0] in ("*", topic[0]) and matches(pattern[1:], topic[1:])


def trie_of(patterns: list[str]) -> TopicTrie[str]:
    trie: TopicTrie[str] = TopicTrie()
    for pattern in patterns:
        trie.add(pattern, pattern)
    return trie


@given(st.lists(PATTERNS, unique=True), TOPICS)
@example(["#.#", "#", "a.#", "#.a", "#.a.#", "*.#"], "a")
@example(["#.a.#.a.#", "#.*.#"], "a.a.a.a")
@example(["#.#.#.#.a", "#.a.#.#"], "a.b.a")
def test_the_trie_matches_as_amqp_says(patterns: list[str], topic: str) -> None:
    """It finds what trying every pattern finds, each once."""
    expected = [pattern for pattern in patterns if matches(pattern.split("."), topic.split("."))]

    assert sorted(trie_of(patterns).matching(topic)) == sorted(expected)


def test_a_pattern_of_many_wildcards_costs_no_more_than_it_is_long() -> None:
    """Each place of the pattern meets each place of the topic once, not in every way that leads there."""
    pattern = ".".join(["#"] * 40)

    assert trie_of([pattern]).matching(".".join(["a"] * 40)) == (pattern,)


def test_items_of_one_pattern_are_all_found() -> None:
    """Two dependencies may listen to the same topics and look at other fields."""
    trie: TopicTrie[int] = TopicTrie()
    trie.add("a.*", 1)
    trie.add("a.*", 2)

    assert trie.matching("a.b") == (1, 2)


def test_a_topic_seen_before_meets_the_same() -> None:
    """It is remembered, not looked for again."""
    trie = trie_of(["a.#", "b"])

    assert trie.matching("a.b") is trie.matching("a.b")
    assert trie.matching("a.b") == ("a.#",)


def test_a_pattern_that_comes_later_meets_a_topic_seen_before() -> None:
    """What was remembered of a topic is forgotten when a pattern is added."""
    trie = trie_of(["a"])
    assert trie.matching("a.b") == ()

    trie.add("a.b", "a.b")

    assert trie.matching("a.b") == ("a.b",)


def test_any_number_of_topics_can_be_met() -> None:
    """Topics that carry an id in a word never end, and neither remembering nor forgetting them changes an answer."""
    trie = trie_of(["bug.*", "bug.7"])

    answers = {trie.matching(f"bug.{n}") for n in range(8, 20_008)}

    assert answers == {("bug.*",)}
    assert sorted(trie.matching("bug.7")) == ["bug.*", "bug.7"]


def test_topics_without_end_take_no_memory_without_end() -> None:
    """A process that runs for months meets millions of them."""

    def n_bytes_after(topics: range) -> int:
        for n in topics:
            trie.matching(f"bug.{n}")
        return tracemalloc.get_traced_memory()[0]

    trie = trie_of(["bug.*"])
    tracemalloc.start()
    try:
        few, many = n_bytes_after(range(10_000)), n_bytes_after(range(10_000, 19_999))
    finally:
        tracemalloc.stop()

    assert many < 1.5 * few
