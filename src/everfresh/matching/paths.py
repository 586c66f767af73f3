"""Dotted paths into bodies and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast


class _Absent:
    """The field is not there: unknown, told apart from null."""


ABSENT = _Absent()


# However the lists of a body are nested, it is not gone through any further.
_MAX_STEPS = 100_000


def values_at(body: object, path: str, *, n_max: int) -> list[Any] | None:
    """Every value at the dotted path; a list on the way, or at its end, gives one value for each element.

    Empty when the path is absent; None when there may be more than `n_max`. Keys that hold dots are found too.
    """
    value = _alone(body, path)
    return _walked(body, path, n_max)[0] if value is ABSENT else [value]


def known_values_at(image: Mapping[str, Any], path: str, *, n_max: int) -> list[Any] | _Absent | None:
    """As `values_at`, but ABSENT when the image does not say all: the path ends before its end, in any element."""
    value = _alone(image, path)
    if value is not ABSENT:
        return [value]
    found, is_all = _walked(image, path, n_max)
    return ABSENT if found is not None and not is_all else found


class _Elements(int):
    """The number of elements of a list on the way, or of ways."""


def whole_at(image: Mapping[str, Any], path: str) -> list[object] | None:
    """All that is at the path, as it is, with how the lists on the way are made up; None when the image does not say.

    Equal for two images only if nothing differs, not even which element stands in which list.
    """
    if type(image) is dict:
        # As nearly all are: of one word, or of two.
        members = cast("dict[str, object]", image)
        head, dot, tail = path.partition(".")
        inner = members if not dot else None if path in members or "." in tail else members.get(head)
        if type(inner) is dict:
            return _of_one_word(cast("dict[str, object]", inner), tail if dot else head)
    found: list[object] = []
    n_steps = 0
    waiting: list[tuple[object, str]] = [(image, path)]
    while waiting:
        node, rest = waiting.pop()
        if not rest:
            found.append(node)
            continue
        ways: list[tuple[object, str]] = []
        if isinstance(node, list | tuple):
            ways = [(element, rest) for element in cast("Sequence[object]", node)]
        elif isinstance(node, Mapping):
            ways = _steps(cast("Mapping[str, object]", node), rest)
        n_steps += len(ways) + 1
        if n_steps > _MAX_STEPS or not (ways or isinstance(node, list | tuple)):
            return None
        found.append(_Elements(len(ways)))
        waiting.extend(reversed(ways))
    return found


def _of_one_word(members: dict[str, object], word: str) -> list[object] | None:
    return [members[word]] if word in members else None


def leads_through_list(image: object, path: str) -> bool:
    """Whether a list stands at the path, or on the way to it."""
    waiting = [(image, path)]
    while waiting:
        node, rest = waiting.pop()
        if isinstance(node, list | tuple):
            return True
        if rest and isinstance(node, Mapping):
            waiting.extend(_steps(cast("Mapping[str, object]", node), rest))
    return False


def is_named(path: str, names: Iterable[str]) -> bool:
    """Whether the names have the path, something inside it, or what it stands in."""
    return any(path == name or path.startswith(f"{name}.") or name.startswith(f"{path}.") for name in names)


def _alone(body: object, path: str) -> object:
    """The one value at a path of one or two words, as nearly all are; ABSENT when it takes a longer look."""
    if type(body) is not dict:
        return ABSENT
    members = cast("dict[str, object]", body)
    head, dot, tail = path.partition(".")
    value = members.get(head, ABSENT)
    if dot:
        if type(value) is not dict or not tail or "." in tail or path in members:
            return ABSENT
        value = cast("dict[str, object]", value).get(tail, ABSENT)
    return ABSENT if isinstance(value, list | tuple) else value


def _walked(body: object, path: str, n_max: int) -> tuple[list[Any] | None, bool]:
    """The values at the path, and whether every way led to its end."""
    found: list[object] = []
    is_all = True
    n_steps = 0
    waiting: list[tuple[object, str]] = [(body, path)]
    # A stack of our own: bodies come from outside, and may be nested deeper than Python's.
    while waiting:
        n_steps += 1
        node, rest = waiting.pop()
        if isinstance(node, list | tuple):
            elements = cast("Sequence[object]", node)
            # Not cut short: what is at the path may stand in the last of them.
            if len(elements) > n_max:
                return None, False
            waiting.extend((element, rest) for element in reversed(elements))
        elif not rest:
            found.append(node)
        else:
            steps = _steps(cast("Mapping[str, object]", node), rest) if isinstance(node, Mapping) else []
            is_all = is_all and bool(steps)
            waiting.extend(reversed(steps))
        if len(found) + len(waiting) > n_max + len(path) or n_steps > _MAX_STEPS:
            return None, False
    return (found, is_all) if len(found) <= n_max else (None, False)


def _steps(members: Mapping[str, object], path: str) -> list[tuple[object, str]]:
    """The ways from a mapping along the path: its whole, or up to any of its dots, may be a key."""
    steps = [(members[path], "")] if path in members else []
    dot = path.find(".")
    while dot >= 0:
        if path[:dot] in members:
            steps.append((members[path[:dot]], path[dot + 1 :]))
        dot = path.find(".", dot + 1)
    return steps
