"""Listening for one follower on an open question."""

import socket
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import exceptions

from everfresh.stores.redis import hearing
from everfresh.stores.redis.hearing import Ear
from everfresh.stores.redis.identity import Identity
from everfresh.stores.redis.reading import Lines


class SilentLines:
    """Connections on which nothing ever comes, and nobody says that they are dead."""

    def __init__(self) -> None:
        self.n_asked = self.n_dropped = 0

    def begin(self, command: bytes) -> object:
        self.n_asked += 1
        return object()

    def drop(self, connection: object) -> None:
        self.n_dropped += 1


@pytest.mark.parametrize("overdue_s", [60.0, 0.0])
def test_a_question_that_went_nowhere_is_asked_again(monkeypatch: pytest.MonkeyPatch, overdue_s: float) -> None:
    """By another connection; one that may still be answered is left open."""
    monkeypatch.setattr(hearing, "_has_news", lambda connection, wait_s: False)
    monkeypatch.setattr(hearing, "_OVERDUE_S", overdue_s)
    monkeypatch.setattr(Identity, "is_of_another", lambda self, connection: False)
    lines = SilentLines()
    ear = Ear(cast("Lines", cast("Any", lines)), Identity())

    assert [ear.hear(b"x", b"0-0", 0.0) for _ in range(3)] == [(), (), ()]

    assert (lines.n_asked, lines.n_dropped) == ((3, 2) if overdue_s == 0 else (1, 0))


class OpenLines:
    """Connections that a test holds the other ends of."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.kept: list[object] = []
        self.dropped: list[object] = []
        self.theirs, self._ours = socket.socketpair()

    def begin(self, command: bytes) -> object:
        self.asked.append(command)
        return SimpleNamespace(_sock=self._ours)

    def keep(self, connection: object) -> None:
        self.kept.append(connection)

    def drop(self, connection: object) -> None:
        self.dropped.append(connection)

    def set_timeout(self, timeout_s: float) -> None:
        self._ours.settimeout(timeout_s)

    def close(self) -> None:
        self.theirs.close()
        self._ours.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenLines]:
    monkeypatch.setattr(Identity, "is_of_another", lambda self, connection: False)
    with closing(OpenLines()) as lines:
        yield lines


def ear_of(lines: OpenLines) -> Ear:
    return Ear(cast("Lines", cast("Any", lines)), Identity())


ITEMS = b"*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nr\r\n$1\r\na\r\n"


def test_what_comes_is_heard_and_the_line_is_ready_again(lines: OpenLines) -> None:
    """Behind what the server says unasked; as with everybody's connections, by protocol 3."""
    ear = ear_of(lines)
    assert ear.hear(b"x", b"0-0", 0.0) == ()

    lines.theirs.sendall(b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n%1\r\n$1\r\nx\r\n" + ITEMS)
    found = ear.hear(b"x", b"0-0", 10.0)

    assert found == [[b"1-0", [b"r", b"a"]]]
    assert (len(lines.asked), len(lines.kept), lines.dropped) == (1, 1, [])


def test_that_nothing_came_in_its_time_is_no_news(lines: OpenLines) -> None:
    """The server ends a question by itself."""
    lines.theirs.sendall(b"_\r\n")

    assert ear_of(lines).hear(b"x", b"0-0", 10.0) == ()
    assert len(lines.kept) == 1


def test_what_the_server_refuses_is_raised_and_the_line_stays(lines: OpenLines) -> None:
    """The reply was read to its end."""
    lines.theirs.sendall(b"-WRONGTYPE no stream\r\n")

    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE no stream"):
        ear_of(lines).hear(b"x", b"0-0", 10.0)
    assert (len(lines.kept), lines.dropped) == (1, [])


def test_after_half_a_reply_another_line_is_asked(lines: OpenLines, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half is nobody's; nor is the first taken for the beginning of the next."""
    ear = ear_of(lines)
    lines.theirs.sendall(b"%1\r\n$1\r\nx\r\n*1")
    lines.theirs.shutdown(socket.SHUT_WR)

    with pytest.raises(exceptions.ConnectionError):
        ear.hear(b"x", b"0-0", 10.0)
    assert (lines.kept, len(lines.dropped)) == ([], 1)

    with closing(OpenLines()) as others:
        others.theirs.sendall(b"%1\r\n$1\r\nx\r\n" + ITEMS)
        monkeypatch.setattr(lines, "begin", others.begin)
        assert ear.hear(b"x", b"0-0", 10.0) == [[b"1-0", [b"r", b"a"]]]


def test_half_a_word_behind_a_reply_is_forgotten_with_its_line(
    lines: OpenLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next line begins with a word of its own."""
    ear, reply = ear_of(lines), b"%1\r\n$1\r\nx\r\n" + ITEMS
    lines.theirs.sendall(reply + b">2\r\n$7\r\nmess")
    found = ear.hear(b"x", b"0-0", 10.0)
    assert ear.hear(b"x", b"0-0", 0.0) == ()
    ear.forget()

    with closing(OpenLines()) as others:
        others.theirs.sendall(reply)
        monkeypatch.setattr(lines, "begin", others.begin)
        assert ear.hear(b"x", b"0-0", 10.0) == found


def test_a_reply_whose_end_does_not_come_is_an_error_of_time(lines: OpenLines) -> None:
    """So the text says what is wrong: somebody answers there, but not in time."""
    lines.set_timeout(0.01)
    lines.theirs.sendall(b"%1\r\n")

    with pytest.raises(exceptions.TimeoutError):
        ear_of(lines).hear(b"x", b"0-0", 10.0)
    assert len(lines.dropped) == 1


def test_a_line_that_somebody_closed_is_not_waited_for(lines: OpenLines, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would open it anew, for a question that was never asked."""
    monkeypatch.setattr(lines, "begin", lambda command: SimpleNamespace(_sock=None))

    with pytest.raises(exceptions.ConnectionError):
        ear_of(lines).hear(b"x", b"0-0", 10.0)
