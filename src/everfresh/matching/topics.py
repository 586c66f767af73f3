"""Topic patterns in a trie: which of them match a topic, in time that follows the topic's words, not the patterns.

AMQP's rule: topics are dotted words, `*` stands for exactly one word and `#` for any number, none included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# Topics that carry an id in a word would let the memo grow for ever; at this size it starts over.
_MAX_MEMO = 10_000


class _Node(Generic[T]):
    __slots__ = ("children", "items")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.items: list[T] = []


class TopicTrie(Generic[T]):
    """Items by topic pattern. One thread may add while others match; two must not add at once."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._memo: dict[str, tuple[T, ...]] = {}

    def add(self, pattern: str, item: T) -> None:
        """File the item under the pattern."""
        node = self._root
        for word in pattern.split("."):
            node = node.children.setdefault(word, _Node())
        node.items.append(item)
        # A new dict, not a cleared one: a match under way, which may have missed the item, writes into the old one.
        self._memo = {}

    def matching(self, topic: str) -> tuple[T, ...]:
        """The items whose pattern matches the topic, each once."""
        memo = self._memo
        found = memo.get(topic)
        if found is None:
            nodes = {id(node): node for node in _reached(self._root, topic.split("."), 0, set())}
            found = tuple(item for node in nodes.values() for item in node.items)
            if len(memo) >= _MAX_MEMO:
                memo.clear()
            memo[topic] = found
        return found


def _reached(node: _Node[T], words: list[str], at: int, seen: set[tuple[int, int]]) -> Iterator[_Node[T]]:
    # Several `#` in a pattern lead to one place in many ways; each place is gone through once.
    if (id(node), at) in seen:
        return
    seen.add((id(node), at))
    hash_child = node.children.get("#")
    if hash_child is not None:
        for skip in range(at, len(words) + 1):
            yield from _reached(hash_child, words, skip, seen)
    if at == len(words):
        yield node
        return
    for name in (words[at], "*"):
        child = node.children.get(name)
        if child is not None:
            yield from _reached(child, words, at + 1, seen)
