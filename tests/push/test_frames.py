import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.model.entry import Key, State
from everfresh.push.frames import Part, bye, heartbeat, hello, reset, revoked, state_frame, told, value_frame
from everfresh.push.topics import Topic
from tests.push.making import at, entry
from tests.push.sse import Reader, parsed

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
# What breaks parsers: every line end of Unicode, field names, colons, byte order marks, the end of a frame.
NASTY = ["\r", "\n", "\r\n", "\n\n", "\u2028", "\u2029", "\x85", "\x0b", "\0", "\ufeff", "data:", "id: 1\n\n", ":", ""]


HELLO = b'{"position":"e1.1","retry_ms":3000,"heartbeat_s":20,"max_topics":100}\n\n'


def read_by_httpx2(stream: bytes) -> list[httpx2.ServerSentEvent]:
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=stream,
        request=httpx2.Request("GET", "http://stream.example"),
    )
    return list(httpx2.EventSource(response))


@given(st.lists(TEXTS | st.sampled_from(NASTY), min_size=1), st.integers(1, 10**18 - 1))
def test_any_text_survives_two_parsers(texts: list[str], sequence: int) -> None:
    """No text, whatever is in it, can end a line or a frame."""
    frames = [value_frame(text, Topic(Key("k"), lambda _, t=text: t), entry(), at=at(sequence)) for text in texts]
    stream = b"".join(frame.wire for frame in frames)

    ours, theirs = parsed(stream), read_by_httpx2(stream)

    assert [(event.data["topic"], event.data["html"]) for event in ours] == [(text, text) for text in texts]
    assert [(event.event, event.json(), event.id) for event in theirs] == [(e.event, e.data, e.id) for e in ours]


@given(JSON)
def test_any_json_value_survives(value: object) -> None:
    """A topic without `render` sends the value as it was built."""
    frame = value_frame("a", Topic(Key("k")), entry(value=value), at=at(1))

    assert parsed(frame.wire)[0].data["value"] == value


@given(st.data())
def test_a_stream_may_be_cut_anywhere(data: st.DataObject) -> None:
    """Networks deliver any pieces."""
    update = told("update", {"html": "<p>ä\u2028</p>"}, at=at(2))
    stream = hello(at(1), is_reached=True, heartbeat_s=20).wire + update.wire + bye(1000).wire
    cut = data.draw(st.integers(0, len(stream)))
    reader = Reader()

    received = reader.feed(stream[:cut]) + reader.feed(stream[cut:])

    assert received == parsed(stream)


def test_an_update_says_all_that_a_widget_shows() -> None:
    """The page needs no second request."""
    frame = value_frame("open", Topic(Key("k"), lambda shown: f"<p>{shown.version}</p>"), entry(version=7), at=at(9))

    assert frame.wire == (
        b"event: update\nid: e1.9\n"
        b'data: {"topic":"open","version":7,"state":"fresh","built_at":100.5,"build_s":0.25,"digest":"d",'
        b'"html":"<p>7</p>"}\n\n'
    )
    assert (frame.part, frame.topic, frame.version, frame.at, frame.changed_at) == (Part.VALUE, "open", 7, at(9), at(1))


def test_a_state_has_no_value() -> None:
    """It is word about what the page already shows."""
    frame = state_frame("open", event="stale", state=State.DIRTY.value, version=7, at=at(9))

    assert frame.wire == b'event: stale\nid: e1.9\ndata: {"topic":"open","version":7,"state":"dirty"}\n\n'
    assert (frame.part, frame.at, frame.changed_at) == (Part.STATE, at(9), None)


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        (hello(at(1), is_reached=True, heartbeat_s=20), b"retry: 3000\nevent: hello\nid: e1.1\ndata: " + HELLO),
        (hello(at(1), is_reached=False, heartbeat_s=20), b"retry: 3000\nevent: hello\ndata: " + HELLO),
        (reset(at(1)), b'event: reset\nid: reset\ndata: {"position":"e1.1"}\n\n'),
        (heartbeat(at(1)), b'event: heartbeat\nid: e1.1\ndata: {"position":"e1.1"}\n\n'),
        (heartbeat(None), b'event: heartbeat\ndata: {"position":null}\n\n'),
        (bye(1234), b'retry: 1234\nevent: bye\ndata: {"retry_ms":1234}\n\n'),
        (revoked(["b", "a"]), b'event: revoked\ndata: {"topics":["a","b"]}\n\n'),
    ],
    ids=["hello", "hello-to-reset", "reset", "heartbeat", "heartbeat-while-pending", "bye", "revoked"],
)
def test_word_about_the_stream(frame: object, wire: bytes) -> None:
    """An id claims that everything up to it was sent; where that is not so, there is none."""
    assert getattr(frame, "wire") == wire  # noqa: B009


@pytest.mark.parametrize("html", ["\ud800", None])
def test_what_has_no_json_form_is_refused(html: object) -> None:
    """Half a surrogate pair has no UTF-8 form; the caller shows the entry as failed."""
    topic = Topic(Key("k"), lambda _: html)  # type: ignore[arg-type,return-value]

    if html is None:
        assert parsed(value_frame("a", topic, entry(), at=None).wire)[0].data["html"] is None
    else:
        with pytest.raises(UnicodeEncodeError):
            value_frame("a", topic, entry(), at=None)
