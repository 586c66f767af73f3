import logging

import pytest

from everfresh.cache.notices import NOTICES, Notice, NoticeBoard


def test_a_listener_is_told_what_happens() -> None:
    """A name from the table, and its fields."""
    board, heard = NoticeBoard(), list[Notice]()
    board.listen(heard.append)

    board.tell("build.done", key="f(1)", changed=True)

    assert heard == [Notice("build.done", {"key": "f(1)", "changed": True})]


def test_every_listener_is_told() -> None:
    """A terminal and a metric do not know of each other."""
    board, one, other = NoticeBoard(), list[Notice](), list[Notice]()
    board.listen(one.append)
    board.listen(other.append)

    board.tell("build.done")

    assert one == other == [Notice("build.done", {})]


def test_a_listener_may_stop() -> None:
    """The others go on, and stopping twice is no error."""
    board, one, other = NoticeBoard(), list[Notice](), list[Notice]()
    stop = board.listen(one.append)
    board.listen(other.append)

    stop()
    stop()
    board.tell("build.done")

    assert (one, other) == ([], [Notice("build.done", {})])


def test_a_listener_that_raises_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else's code must not break a build; its error is named in the log."""
    board, heard = NoticeBoard(), list[Notice]()

    def broken(notice: Notice) -> None:
        raise ValueError(notice.name)

    board.listen(broken)
    board.listen(heard.append)
    board.tell("build.done")

    assert heard == [Notice("build.done", {})]
    assert [(entry.levelname, entry.message) for entry in caplog.records] == [
        ("WARNING", "listener.failed {'error': \"ValueError('build.done')\", 'notice': 'build.done'}")
    ]


# What goes wrong without raising.
WARNINGS = {"breaker.opened", "job.expired", "predicate.never", "scope.undescribed"}


@pytest.mark.parametrize("name", NOTICES)
def test_the_log_warns_of_failures_and_keeps_quiet_of_the_rest(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A healthy cache says nothing."""
    caplog.set_level(logging.INFO, logger="everfresh")

    NoticeBoard().tell(name, key="f(1)")

    is_warning = name.endswith(".failed") or name in WARNINGS
    assert [entry.levelname for entry in caplog.records] == (["WARNING"] if is_warning else [])


def test_the_log_holds_the_fields_as_data(caplog: pytest.LogCaptureFixture) -> None:
    """A program reads them without parsing a sentence."""
    NoticeBoard().tell("build.failed", key="f(1)", attempts=2)

    (entry,) = caplog.records
    assert vars(entry)["everfresh_notice"] == "build.failed"
    assert vars(entry)["everfresh_fields"] == {"key": "f(1)", "attempts": 2}


@pytest.mark.parametrize(
    ("level", "told"), [(logging.ERROR, set[str]()), (logging.WARNING, {"build.failed"}), (logging.DEBUG, set(NOTICES))]
)
def test_the_log_listens_to_what_it_would_hold(level: int, told: set[str], caplog: pytest.LogCaptureFixture) -> None:
    """What nobody takes need not be put together."""
    caplog.set_level(level, logger="everfresh")

    heard = {name for name in NOTICES if NoticeBoard().has_listeners(name)}

    assert heard >= told
    assert bool(heard) is bool(told)


def test_a_board_with_a_listener_has_one_for_every_notice(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the log is set to."""
    caplog.set_level(logging.ERROR, logger="everfresh")
    board = NoticeBoard()

    remove = board.listen(list[Notice]().append)

    assert board.has_listeners("event.applied")
    remove()
    assert not board.has_listeners("event.applied")


def test_the_log_tells_all_when_it_is_asked_to(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever debugs wants every event."""
    caplog.set_level(logging.DEBUG, logger="everfresh")

    NoticeBoard().tell("event.applied", topic="bug.update")

    assert [entry.message for entry in caplog.records] == ["event.applied {'topic': 'bug.update'}"]
