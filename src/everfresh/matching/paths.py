"""Dotted paths into bodies and images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast


class _Absent:
    """The field is not there: unknown, told apart from null."""


ABSENT = _Absent()


def values_at(body: object, path: str) -> list[Any]:
    """Every value at the dotted path; a list on the way, or at its end, gives one value for each element.

    Empty when the path is absent. Keys that themselves hold dots are found too.
    """
    return list(_walk(body, path))


def _walk(node: object, path: str) -> Iterator[Any]:
    if isinstance(node, list | tuple):
        for element in cast("Iterable[object]", node):
            yield from _walk(element, path)
        return
    if not path:
        yield node
        return
    if not isinstance(node, Mapping):
        return
    members = cast("Mapping[str, object]", node)
    if path in members:
        yield from _walk(members[path], "")
    dot = path.find(".")
    while dot >= 0:
        if path[:dot] in members:
            yield from _walk(members[path[:dot]], path[dot + 1 :])
        dot = path.find(".", dot + 1)


def field_of(image: Mapping[str, Any], name: str) -> object:
    """The field of a row's image, or ABSENT when the image does not say."""
    return image.get(name, ABSENT)
