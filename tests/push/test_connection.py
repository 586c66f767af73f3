import pytest

from everfresh.push.connection import Connection
from everfresh.push.frames import Frame, Part
from everfresh.push.resume import rank_of
from tests.push.making import at

HELLO = Frame(wire=b"hello")
RESET = Frame(wire=b"reset")
BYE = Frame(wire=b"bye")


def value(topic: str, changed_at: int, *, id: int | None = None) -> Frame:  # noqa: A002
    place = at(changed_at if id is None else id)
    return Frame(
        wire=f"{topic}{changed_at}".encode(), part=Part.VALUE, topic=topic, at=place, changed_at=at(changed_at)
    )


def state(topic: str, sequence: int | None) -> Frame:
    place = None if sequence is None else at(sequence)
    return Frame(wire=f"{topic}:{sequence}".encode(), part=Part.STATE, topic=topic, at=place)


def live(cursor: int = 0) -> Connection:
    connection = Connection([], cursor=at(cursor))
    connection.settle([], generation=0)
    return connection


def taken(connection: Connection) -> list[str]:
    wires: list[str] = []
    while frames := connection.take(1 << 20):
        wires += [frame.wire.decode() for frame in frames]
    return wires


def test_frames_are_given_in_order() -> None:
    """A quick reader gets everything."""
    connection = live()
    for frame in (value("a", 1), state("b", 2), value("b", 3)):
        assert connection.offer(frame)
        assert taken(connection) == [frame.wire.decode()]


def test_a_slow_reader_skips_to_the_newest() -> None:
    """A hundred versions wait as one frame."""
    connection = live()
    for sequence in range(1, 101):
        connection.offer(value("a", sequence))
        assert connection.n_waiting == 1

    assert taken(connection) == ["a100"]


def test_the_newer_frame_goes_to_the_end() -> None:
    """Left in its place, it would be sent with an id that claims b, which was not sent."""
    connection = live()
    for frame in (value("a", 1), value("b", 2), value("a", 3)):
        connection.offer(frame)

    assert taken(connection) == ["b2", "a3"]


def test_word_of_a_state_does_not_displace_a_value() -> None:
    """It has no value."""
    connection = live()
    for frame in (value("a", 1), state("a", 2), state("a", 3)):
        connection.offer(frame)

    assert taken(connection) == ["a1", "a:3"]


def test_a_value_displaces_word_of_an_older_state() -> None:
    """It brings its own."""
    connection = live()
    for frame in (state("a", 2), value("a", 3)):
        connection.offer(frame)

    assert taken(connection) == ["a3"]


@pytest.mark.parametrize("older", [value("a", 4, id=6), value("a", 5, id=7), value("a", 3)])
def test_never_an_older_value_after_a_newer_one(older: Frame) -> None:
    """Nor the same one twice."""
    connection = live()
    connection.offer(value("a", 5))

    assert not connection.offer(older)
    assert taken(connection) == ["a5"]
    assert not connection.offer(older)


def test_what_the_client_has_is_not_sent() -> None:
    """The page may be newer than what the fan-out reads."""
    connection = live(cursor=5)

    assert not connection.offer(value("a", 5))
    assert not connection.offer(state("a", 5))
    assert connection.offer(value("a", 6))
    assert connection.offer(state("a", 7))


def test_what_is_owed_goes_before_what_is_live() -> None:
    """A live id claims what is owed."""
    connection = Connection([HELLO], cursor=at(2))
    connection.offer(value("b", 6))
    connection.offer(state("c", 7))
    assert taken(connection) == ["hello"]

    connection.settle([value("a", 3), state("d", None)], generation=0)

    assert taken(connection) == ["a3", "d:None", "b6", "c:7"]


@pytest.mark.parametrize(
    ("owed", "kept", "expected"),
    [
        ([value("a", 3)], [value("a", 6)], ["a6"]),
        ([value("a", 6, id=4)], [value("a", 5)], ["a6"]),
        ([value("a", 5, id=4)], [value("a", 5)], ["a5"]),
        ([value("a", 3)], [state("a", 6)], ["a3", "a:6"]),
        ([value("a", 6, id=4)], [state("a", 5)], ["a6"]),
        ([state("a", None)], [value("a", 6)], ["a6"]),
        ([state("a", None)], [state("a", 6)], ["a:6"]),
    ],
    ids=["live-newer", "owed-newer", "same", "live-state", "owed-newer-than-state", "owed-state", "both-states"],
)
def test_the_newest_of_owed_and_live_wins(owed: list[Frame], kept: list[Frame], expected: list[str]) -> None:
    """Both were read after the client registered, in either order."""
    connection = Connection([], cursor=at(2))
    for frame in kept:
        connection.offer(frame)
    connection.settle(sorted(owed, key=rank_of), generation=0)

    assert taken(connection) == expected


def test_a_new_life_begins_with_reset_and_whole_states() -> None:
    """What waited belongs to the old life, and so does what was being read for the client."""
    connection = Connection([HELLO], cursor=at(2))
    connection.offer(value("a", 9))
    generation = connection.restart(RESET)
    connection.settle([value("a", 8)], generation=generation - 1)
    assert taken(connection) == ["hello", "reset"]

    connection.offer(value("b", 1))
    connection.settle([value("a", 1)], generation=generation)

    assert taken(connection) == ["a1", "b1"]


def test_goodbye_is_the_last_word() -> None:
    """What waits is sent when the client comes back."""
    connection = live()
    connection.offer(value("a", 1))
    connection.end(BYE)
    connection.end(BYE)

    assert not connection.offer(value("a", 2))
    connection.restart(RESET)
    connection.settle([value("a", 3)], generation=1)
    assert connection.is_ended
    assert taken(connection) == ["bye"]


def test_a_client_reached_what_was_handed_out_once_nothing_waits() -> None:
    """So that an idle client's cursor never ages."""
    connection = live(cursor=5)
    assert connection.position(at(4)) == at(5)
    assert connection.position(at(6)) == at(6)

    connection.offer(value("a", 8))
    assert connection.position(at(8)) is None

    taken(connection)
    assert connection.position(at(7)) == at(8)
    assert connection.position(at(1, "e2")) == at(1, "e2")


def test_nothing_is_reached_while_something_is_owed() -> None:
    """The cursor must not pass by it."""
    connection = Connection([], cursor=at(5))
    assert connection.position(at(6)) is None

    connection.settle([], generation=0)
    assert connection.position(at(6)) == at(6)

    generation = connection.restart(RESET)
    taken(connection)
    assert connection.position(at(6)) is None

    connection.settle([], generation=generation)
    assert connection.position(at(1, "e2")) == at(1, "e2")
