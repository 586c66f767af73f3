"""What a client asks for: topics and the position that it has reached. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

from everfresh.asgi import Problem, Request
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import InvalidPosition
from everfresh.model.position import Position

# A page of widgets has tens. Every topic is one load when a client comes back, so a request must not ask for thousands.
MAX_TOPICS = 100
# Browsers send `Last-Event-ID` cross-origin without a preflight only up to here; a position is always shorter.
MAX_CURSOR_BYTES = 128


@dataclass(frozen=True, slots=True)
class Topic:
    """What a name on the stream stands for: an entry, and how its value is shown.

    `render` makes HTML of the entry, once for all who watch it, so it must not depend on who they are. Without
    `render` the value is sent as JSON.
    """

    key: Key
    render: Callable[[Entry], str] | None = None


Resolve = Callable[[str], Topic | None]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A cursor that nobody can read; the client starts over."""


Cursor = Position | Unknown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a stream: the topics by name, and how far the client has come (None: it does not say)."""

    topics: Mapping[str, Topic]
    cursor: Cursor


def asked_of(request: Request, resolve: Resolve) -> Asked | Problem:
    """The stream that the request asks for, or why there is none."""
    if request.method != "GET":
        detail = f"{request.method}: a stream is read with GET."
        return Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": "GET"})
    query = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
    names = list(dict.fromkeys(value for name, value in query if name == "topic"))
    if not names:
        return Problem(HTTPStatus.BAD_REQUEST, "No topic is asked for. Add ?topic=NAME, once per topic.", at="topic")
    if len(names) > MAX_TOPICS:
        detail = f"{len(names)} topics are asked for. Ask for at most {MAX_TOPICS} on one stream."
        return Problem(HTTPStatus.BAD_REQUEST, detail, at="topic")
    topics: dict[str, Topic] = {}
    for name in names:
        topic = resolve(name)
        if topic is None:
            return Problem(HTTPStatus.NOT_FOUND, f"Nothing is offered here under {name[:80]!r}.", at="topic")
        topics[name] = topic
    asked = next((value for name, value in query if name == "last_event_id"), "")
    return Asked(topics=topics, cursor=cursor_of(request.texts().get("last-event-id"), asked))


def cursor_of(header: str | None, query: str) -> Cursor:
    """The position that the client names; the header is newer than the query, which is the page's.

    A text that is no position is `Unknown`, never an error: a browser would give up for good on one.
    """
    text = header or query
    if not text:
        return None
    if len(text) > MAX_CURSOR_BYTES:
        return Unknown()
    try:
        return Position.parse(text)
    except InvalidPosition:
        return Unknown()
