"""Dotted paths into bodies and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast


class _Absent:
    """The field is not there: unknown, told apart from null."""


ABSENT = _Absent()


def values_at(body: object, path: str, *, n_max: int) -> list[Any] | None:
    """Every value at the dotted path; a list on the way, or at its end, gives one value for each element.

    Empty when the path is absent; None when there may be more than `n_max`. Keys that hold dots are found too.
    """
    found: list[object] = []
    waiting: list[tuple[object, str]] = [(body, path)]
    # A stack of our own: bodies come from outside, and may be nested deeper than Python's.
    while waiting:
        node, rest = waiting.pop()
        if isinstance(node, list | tuple):
            elements = cast("Sequence[object]", node)
            # Not cut short: what is at the path may stand in the last of them.
            if len(elements) > n_max:
                return None
            waiting.extend((element, rest) for element in reversed(elements))
        elif not rest:
            found.append(node)
        elif isinstance(node, Mapping):
            waiting.extend(reversed(_steps(cast("Mapping[str, object]", node), rest)))
        if len(found) + len(waiting) > n_max + len(path):
            return None
    return found if len(found) <= n_max else None


def _steps(members: Mapping[str, object], path: str) -> list[tuple[object, str]]:
    """The ways from a mapping along the path: its whole, or up to any of its dots, may be a key."""
    steps = [(members[path], "")] if path in members else []
    dot = path.find(".")
    while dot >= 0:
        if path[:dot] in members:
            steps.append((members[path[:dot]], path[dot + 1 :]))
        dot = path.find(".", dot + 1)
    return steps


def field_of(image: Mapping[str, Any], name: str) -> object:
    """The field of a row's image, or ABSENT when the image does not say."""
    return image.get(name, ABSENT)
