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
# Longer than the position of any store with up to a hundred shards. Browsers send a `Last-Event-ID` of more than 128
# bytes to other origins only after a preflight.
MAX_CURSOR_BYTES = 4_096


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
    """A stream or one answer is asked for: the names, and how far the client has come (None: nowhere).

    `topics` are those names that stand for something. Of the others only who may ask for them is told.
    """

    names: frozenset[str]
    topics: Mapping[str, Topic]
    cursor: Cursor
    is_poll: bool = False


def asked_of(request: Request, resolve: Resolve) -> Asked | Problem:
    """What the request asks for, or why there is none."""
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
    found = {name: resolve(name) for name in names}
    topics = {name: topic for name, topic in found.items() if topic is not None}
    since = next((value for name, value in query if name == "since"), None)
    if since is not None:
        return Asked(names=frozenset(names), topics=topics, cursor=cursor_of(None, since), is_poll=True)
    asked = next((value for name, value in query if name == "last_event_id"), "")
    return Asked(names=frozenset(names), topics=topics, cursor=cursor_of(request.texts().get("last-event-id"), asked))


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
