"""What a log line holds, and what it must not."""

import json
import logging
import re
from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import pytest

from everfresh.cache.notices import NOTICES, NoticeBoard
from everfresh.cache.secrets import kept_secret
from everfresh.cli.logs import N_SHOWN, RESERVED, JsonLines, TextLines, configure, line_of
from everfresh.model.position import Position


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    """Everfresh's own, whose records are kept."""
    caplog.set_level(logging.DEBUG, "everfresh")
    return logging.getLogger("everfresh.process")


def as_json(record: logging.LogRecord) -> dict[str, Any]:
    """What a program reads of it."""
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_notice_is_its_name_and_its_fields(caplog: pytest.LogCaptureFixture, logger: logging.Logger) -> None:
    """Beside when, how grave and which process."""
    NoticeBoard().tell("refresh.done", key="a", changed=True, build_s=0.5, position=Position("e", 7))

    (line,) = map(as_json, caplog.records)
    assert datetime.fromisoformat(line.pop("time")).tzinfo == UTC
    assert isinstance(line.pop("pid"), int)
    assert line == {
        "level": "debug",
        "logger": "everfresh",
        "event": "refresh.done",
        "key": "a",
        "changed": True,
        "build_s": 0.5,
        "position": "e.7",
    }


def test_an_event_whose_name_is_an_argument_is_the_same(
    caplog: pytest.LogCaptureFixture, logger: logging.Logger
) -> None:
    """As sources tell of themselves."""
    logger.info("%s %s", "source.connected", {"source": "bus"})
    logger.info("%s %s", "one", "two")

    first, second = map(as_json, caplog.records)
    assert (first["event"], first["source"]) == ("source.connected", "bus")
    assert second["event"] == "one two"


def test_no_field_of_a_notice_is_hidden_by_what_each_line_has() -> None:
    """Names of fields stand after the colon of each description."""
    fields = {name for text in NOTICES.values() for name in re.findall(r"\w+", text.rpartition(":")[2])}

    assert fields & RESERVED == set()


def test_a_wide_event_is_one_short_line(caplog: pytest.LogCaptureFixture, logger: logging.Logger) -> None:
    """The first keys, and how many more."""
    logger.info("event.applied %s", {"touched": [f"key {n}" for n in range(10_000)]})

    touched = as_json(caplog.records[0])["touched"]
    assert touched[0] == "key 0"
    assert touched[N_SHOWN:] == [f"and {10_000 - N_SHOWN} more"]


def test_every_value_has_a_form(caplog: pytest.LogCaptureFixture, logger: logging.Logger) -> None:
    """A line that cannot be written would be lost."""
    logger.info("x %s", {"inf": inf, "nan": nan, "half": "\ud800", "map": {1: (2,)}, "other": datetime(2026, 1, 1)})  # noqa: DTZ001 - any object

    line = as_json(caplog.records[0])
    assert (line["inf"], line["nan"], line["map"]) == (None, None, {"1": [2]})
    assert line["other"] == "2026-01-01 00:00:00"


@pytest.mark.parametrize("fields", [{}, {"a": 1}])
def test_an_event_without_fields_is_one_too(
    fields: dict[str, int], caplog: pytest.LogCaptureFixture, logger: logging.Logger
) -> None:
    """Its name is never mixed with their text."""
    logger.info("process.ready %s", fields)

    assert as_json(caplog.records[0])["event"] == "process.ready"


def test_lines_of_the_application_are_lines_too(caplog: pytest.LogCaptureFixture) -> None:
    """Their text is the event."""
    caplog.set_level(logging.INFO)
    logging.getLogger("shop").info("sold %d of %s", 3, "tea")

    assert as_json(caplog.records[0])["event"] == "sold 3 of tea"


def failing(*, secret: bool) -> dict[str, object]:
    """The line about an error, one of a function with a secret argument or not."""
    try:
        error = ValueError("password hunter2 is wrong")
        raise kept_secret(error) if secret else error
    except ValueError as raised:
        info = (type(raised), raised, raised.__traceback__)
        return line_of(logging.LogRecord("shop", logging.ERROR, __file__, 1, "failed", None, info))


def test_of_an_error_that_may_hold_a_secret_only_the_place_is_told() -> None:
    """And of any other all that helps."""
    assert "hunter2" in str(failing(secret=False)["traceback"])
    told = str(failing(secret=True)["traceback"])
    assert "hunter2" not in told
    assert "ValueError" in told
    assert "in failing" in told


def test_text_does_nothing_to_a_terminal() -> None:
    """Keys and errors are whatever users put into them; one record is one line, but for its traceback."""
    evil = {"key": "a\n\x1b[2Jb"}
    text = TextLines().format(logging.LogRecord("everfresh", logging.WARNING, __file__, 1, "x.y %s", (evil,), None))

    assert text.isprintable()
    assert text.endswith(r"x.y key=a\n\x1b[2Jb")


def test_a_traceback_stands_below_its_line() -> None:
    """For people."""
    error = ZeroDivisionError("division by zero")
    info = (type(error), error, error.__traceback__)
    text = TextLines().format(logging.LogRecord("shop", logging.ERROR, __file__, 1, "failed", None, info))

    first, *below = text.split("\n")
    assert first.endswith("failed")
    assert below[-1] == "  ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["everfresh debug", "shop info", "uvicorn warning"]), ("error", [])],
)
def test_the_level_is_everfreshs_own(
    level: str, expected: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of others nothing below INFO is told, of the server no chatter."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in ("everfresh", "uvicorn")]
    monkeypatch.setattr(root, "handlers", [])
    # Any server that ran here before has arranged its own.
    for name in ("uvicorn", "uvicorn.error"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    before = [(one, one.level) for one in (root, *loggers)]
    try:
        configure("json", level)
        logging.getLogger("everfresh").debug("everfresh debug")
        logging.getLogger("shop").debug("shop debug")
        logging.getLogger("shop").info("shop info")
        logging.getLogger("uvicorn.error").info("uvicorn info")
        logging.getLogger("uvicorn.error").warning("uvicorn warning")
    finally:
        for one, level_before in before:
            one.setLevel(level_before)

    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == expected
