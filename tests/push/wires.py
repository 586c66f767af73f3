"""Any frames that we make, any pieces that a network makes of them, and what any parser must make of these."""

from itertools import pairwise

from hypothesis import strategies as st

from everfresh.model.entry import Key
from everfresh.model.position import Position
from everfresh.push.frames import Frame, bye, heartbeat, hello, reset, revoked, state_frame, value_frame
from everfresh.push.topics import Topic
from tests.push.making import entry

Parsed = list[list[str]]
"""An event, the last id at that moment, and the data; of each event in turn."""

EVENTS = ["hello", "update", "stale", "failed", "reset", "heartbeat", "bye", "revoked"]
_RESET = "reset"

# What breaks parsers: every line end of Unicode, field names, colons, byte order marks, the end of a frame, NUL.
NASTY = [
    *("\r", "\n", "\r\n", "\n\n", "\r\r", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\0", "\ufeff"),
    *("data:", "\ndata: x", "\nid: 1\n\n", "\r\nevent: bye\r\n\r\n", "\rretry: 0\r", ":", "\n: word\n", " ", ""),
]
# All that UTF-8 has: only half of a surrogate pair has no form there.
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(NASTY), max_size=4).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
_PARTS = st.tuples(st.text("0123456789abcdefz", min_size=1, max_size=12), st.integers(0, 10**18 - 1))
PLACES = st.lists(_PARTS, min_size=1, max_size=3).map(Position.of)


def html(name: str, text: str, at: Position | None) -> Frame:
    """An update whose HTML is that text."""
    return value_frame(name, Topic(Key("k"), lambda _: text), entry(), at=at)


def value(name: str, shown: object, at: Position | None) -> Frame:
    """An update without HTML."""
    return value_frame(name, Topic(Key("k")), entry(value=shown), at=at)


def state(name: str, event: str, at: Position | None) -> Frame:
    """Word about what a page shows already."""
    return state_frame(name, event=event, state="dirty", version=3, at=at)


FRAMES = st.one_of(
    st.builds(html, TEXTS, TEXTS, st.none() | PLACES),
    st.builds(value, TEXTS, JSON, st.none() | PLACES),
    st.builds(state, TEXTS, st.sampled_from(["stale", "failed"]), st.none() | PLACES),
    st.builds(hello, PLACES, is_reached=st.booleans(), heartbeat_s=st.just(20)),
    st.builds(reset, PLACES),
    st.builds(heartbeat, st.none() | PLACES),
    st.builds(bye, st.integers(1, 60_000)),
    st.builds(revoked, st.lists(TEXTS, max_size=3)),
)
STREAMS = st.lists(FRAMES, min_size=1, max_size=8)
# So often the same text: beyond any buffer of a parser or of the network.
TIMES = st.integers(1_000, 20_000)
CUTS = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)


def long_html(text: str, n: int) -> list[Frame]:
    """An update with very much HTML, and one after it."""
    return [html("long", f"{text}é\U0001f375\r\n" * n, Position("e", 1)), bye(1)]


def pieces_of(frames: list[Frame], cuts: list[float]) -> list[bytes]:
    """The bytes of the stream, cut at these parts of its length: between any two bytes, also of one letter."""
    stream = b"".join(frame.wire for frame in frames)
    places = [0, *sorted({int(cut * len(stream)) for cut in cuts} - {0}), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(places)]


def meant_by(frames: list[Frame]) -> Parsed:
    """What was sent; an id stays until there is another one."""
    last_id = ""
    meant: Parsed = []
    for frame in frames:
        last_id = _RESET if frame.event == "reset" else last_id if frame.at is None else frame.at.text
        meant.append([frame.event, last_id, frame.data.decode()])
    return meant
