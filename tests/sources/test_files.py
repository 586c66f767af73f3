import io
import itertools

from everfresh import Event
from everfresh.sources.files import read_lines
from tests.needing import recorded_bus


def test_each_line_is_an_event_or_what_is_wrong_with_it() -> None:
    """With its number, as editors count."""
    file = io.BytesIO(
        b'\xef\xbb\xbf{"topic": "a", "body": {"x": 1}, "id": "7", "headers": {"h": 1}, "priority": 0}\r\n'
        b"\n"
        b"not json\n"
        b'{"topic": "b\xff"}\n'
        b'{"body": {}}\n'
        b'  {"topic": "c"}'
    )

    lines = list(read_lines(file))

    assert lines[0] == (1, Event("a", {"x": 1}, id="7", headers={"h": 1}))
    assert lines[-1] == (6, Event("c"))
    problems = [(number, text) for number, text in lines if isinstance(text, str)]
    assert [number for number, _ in problems] == [3, 4, 5]
    assert problems[0][1].startswith("this is not JSON")
    assert problems[2][1] == "topic: required, and missing"


def test_a_file_is_read_while_it_comes() -> None:
    """A pipe may never end."""
    lines = read_lines(itertools.repeat(b'{"topic": "a"}\n'))

    assert next(lines) == (1, Event("a"))
    assert next(lines) == (2, Event("a"))


def test_every_recorded_message_of_a_real_bus_is_read() -> None:
    """Bugzilla, Koji, Bodhi, Pagure and others wrote them."""
    with recorded_bus().open("rb") as file:
        lines = list(read_lines(file))

    assert len(lines) == 284
    assert [content for _, content in lines if not isinstance(content, Event)] == []
