from http import HTTPStatus
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.asgi import Problem, Request
from everfresh.model.entry import Key
from everfresh.push.topics import MAX_TOPICS, Asked, Topic, Unknown, asked_of, cursor_of
from tests.push.making import at

TOPICS = {name: Topic(Key(f"key of {name}")) for name in ("a", "b", "ä & ö", "")}


def request(query: str, *, method: str = "GET", cursor: str | None = None) -> Request:
    headers = [] if cursor is None else [(b"Last-Event-ID", cursor.encode("latin-1"))]
    return Request(method, headers, query.encode())


def asked(query: str, *, cursor: str | None = None) -> Asked:
    outcome = asked_of(request(query, cursor=cursor), TOPICS.get)
    assert isinstance(outcome, Asked)
    return outcome


def test_only_the_topics_asked_for_are_given_each_once() -> None:
    """A stream costs what was asked for."""
    assert asked("topic=b&x=1&topic=a&topic=b").topics == {"b": TOPICS["b"], "a": TOPICS["a"]}


def test_a_name_may_be_any_text() -> None:
    """Names come percent-encoded."""
    assert set(asked(urlencode([("topic", "ä & ö"), ("topic", "")])).topics) == {"ä & ö", ""}


@pytest.mark.parametrize(
    ("query", "method", "status", "word"),
    [
        ("topic=a", "HEAD", HTTPStatus.METHOD_NOT_ALLOWED, "HEAD"),
        ("topic=a", "POST", HTTPStatus.METHOD_NOT_ALLOWED, "POST"),
        ("", "GET", HTTPStatus.BAD_REQUEST, "?topic=NAME"),
        ("last_event_id=e1.1", "GET", HTTPStatus.BAD_REQUEST, "?topic=NAME"),
        ("&".join(f"topic={n}" for n in range(MAX_TOPICS + 1)), "GET", HTTPStatus.BAD_REQUEST, f"{MAX_TOPICS}"),
    ],
    ids=["head", "post", "no-topic", "cursor-only", "too-many"],
)
def test_what_cannot_be_served_is_refused(query: str, method: str, status: HTTPStatus, word: str) -> None:
    """The refusal says what to do."""
    outcome = asked_of(request(query, method=method), TOPICS.get)

    assert isinstance(outcome, Problem)
    assert outcome.status is status
    assert word in outcome.detail


def test_the_header_is_newer_than_the_query() -> None:
    """The query is from when the page was rendered; the browser keeps it when it comes back."""
    assert asked("topic=a&last_event_id=e1.3", cursor="e1.5").cursor == at(5)
    assert asked("topic=a&last_event_id=e1.3").cursor == at(3)
    assert asked("topic=a").cursor is None
    assert asked("topic=a&last_event_id=").cursor is None


@pytest.mark.parametrize(
    "text",
    ["x", "e1", "e1.", "e1.-1", "E1.1", "e1.1 ", "e1.1\n", "a" * 127 + ".1", "1." + "9" * 30, "é.1", "\x00", "e1.²"],
)
def test_an_unreadable_cursor_is_unknown(text: str) -> None:
    """An error would make browsers give up for good."""
    assert cursor_of(text, "") == Unknown()
    assert cursor_of(None, text) == Unknown()


@given(st.binary(min_size=1))
def test_no_header_is_an_error(raw: bytes) -> None:
    """Whatever a client sends, it gets a stream."""
    outcome = asked_of(Request("GET", [(b"last-event-id", raw)], b"topic=a"), TOPICS.get)

    assert isinstance(outcome, Asked)


@given(st.binary())
def test_no_query_is_an_error(raw: bytes) -> None:
    """Whatever a client sends, it is answered."""
    outcome = asked_of(Request("GET", [], raw), TOPICS.get)
    assert isinstance(outcome, Asked | Problem)

    quoted = asked_of(Request("GET", [], b"topic=a&last_event_id=" + quote(raw).encode()), TOPICS.get)
    assert isinstance(quoted, Asked)


def test_a_name_that_stands_for_nothing_is_kept_apart() -> None:
    """Whether it does is told only to who may ask for it."""
    outcome = asked_of(request("topic=a&topic=missing"), TOPICS.get)

    assert isinstance(outcome, Asked)
    assert outcome.names == {"a", "missing"}
    assert [*outcome.topics] == ["a"]
