"""Topic patterns among themselves: whether one topic may match both of two, and whether one pattern covers another.

AMQP's rule on both sides: `*` stands for exactly one word and `#` for any number, none included. An event about a row
of type T has a topic T.create, T.update and the like, so what depends on objects of T, or lists of them, stands under
`T.*`. Tags and calls stand under no topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from everfresh.matching.index import ShapeIndex
from everfresh.matching.shapes import Shape, ShapeId, ShapeKind
from everfresh.matching.triage import Touched

_ANY_NUMBER = "#"
_ONE = "*"


def touched_by_patterns(patterns: Sequence[str], index: ShapeIndex) -> Touched:
    """Whatever events with topics of these patterns could touch, as whole shapes.

    Predicates cannot be asked about an event that nobody knows, so all entries that have one are touched.
    """
    shapes: dict[ShapeId, int] = {}
    for known in index.all():
        own = pattern_of(known.shape)
        if own is not None and any(may_meet(own, pattern) for pattern in patterns):
            shapes[known.id] = 0
    return Touched(shapes=shapes)


def pattern_of(shape: Shape) -> str | None:
    """The topics of the events that reach the shape; None when none do."""
    if shape.kind in (ShapeKind.TAG, ShapeKind.CALL):
        return None
    return f"{shape.pattern}.{_ONE}" if shape.kind in (ShapeKind.ID, ShapeKind.SCOPE) else shape.pattern


def may_meet(one: str, other: str) -> bool:
    """Whether some topic matches both patterns."""
    ours, theirs = one.split("."), other.split(".")
    # Row by row: whether what is left of ours, from this word on, may meet what is left of theirs from each of its on.
    below = [_is_empty(theirs[at:]) for at in range(len(theirs) + 1)]
    for word in reversed(ours):
        row = [False] * (len(theirs) + 1)
        row[-1] = word == _ANY_NUMBER and below[-1]
        for at in range(len(theirs) - 1, -1, -1):
            if _ANY_NUMBER in (word, theirs[at]):
                # Either of them stands for nothing more; what else it stands for, the other's word takes from it.
                row[at] = below[at] or row[at + 1]
            else:
                row[at] = below[at + 1] and (word == theirs[at] or _ONE in (word, theirs[at]))
        below = row
    return below[0]


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that matches the narrow pattern matches the wide one."""
    ours, theirs = _ordered(wide), _ordered(narrow)
    below = [at == len(theirs) for at in range(len(theirs) + 1)]
    for word in reversed(ours):
        row = [False] * (len(theirs) + 1)
        row[-1] = word == _ANY_NUMBER and below[-1]
        for at in range(len(theirs) - 1, -1, -1):
            if word == _ANY_NUMBER:
                row[at] = below[at] or row[at + 1]
            elif theirs[at] == _ANY_NUMBER:
                # No word, or one and any number more.
                row[at] = word == _ONE and row[at + 1] and below[at]
            else:
                row[at] = below[at + 1] and word in (_ONE, theirs[at])
        below = row
    return below[0]


def without_covered(patterns: Iterable[str]) -> tuple[str, ...]:
    """Patterns that together match what all of these do, in order, none of them covered by another."""
    left = sorted(set(patterns))
    kept: list[str] = []
    for at, pattern in enumerate(left):
        others = (*kept, *left[at + 1 :])
        if not any(covers(other, pattern) for other in others):
            kept.append(pattern)
    return tuple(kept)


def _is_empty(words: Sequence[str]) -> bool:
    return all(word == _ANY_NUMBER for word in words)


def _ordered(pattern: str) -> list[str]:
    """The words of the pattern; side by side, each `*` before one `#`, which says the same.

    No topic is without words, so `#` alone says what `*.#` does.
    """
    words: list[str] = []
    for word in pattern.split("."):
        if words and words[-1] == _ANY_NUMBER and word in (_ONE, _ANY_NUMBER):
            if word == _ONE:
                words.insert(-1, word)
        else:
            words.append(word)
    return [_ONE, _ANY_NUMBER] if words == [_ANY_NUMBER] else words
