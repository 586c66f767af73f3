"""Recorded messages: one JSON object a line, as `fedora-messaging record` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from everfresh.model.event import Event
from everfresh.sources.messages import Malformed, decoded, event_of

Line = tuple[int, Event | str]
"""The number of a line, from 1, and its event, or what is wrong with it."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(file: Iterable[bytes]) -> Iterator[Line]:
    """The events of a file opened in binary mode, in order, while it is read. Empty lines are passed over."""
    for number, line in enumerate(file, start=1):
        text = line.removeprefix(_BYTE_ORDER_MARK).strip() if number == 1 else line.strip()
        if text:
            yield number, _event_or_problem(text)


def _event_or_problem(text: bytes) -> Event | str:
    try:
        return event_of(decoded(text))
    except Malformed as error:
        return str(error)
