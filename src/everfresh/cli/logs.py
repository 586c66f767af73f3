"""Logs: one line for each record, as JSON for programs or as text for people.

A record of Everfresh is an event name and fields, as `cache.notices` writes them. What else goes through Python's
logging, the application's own lines too, is a line with its text as the event.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
import traceback
from collections.abc import Mapping
from typing import Literal, cast

from everfresh.cache.printing import printable
from everfresh.cache.secrets import holds_secret, told_of
from everfresh.model.errors import StoreUnavailable
from everfresh.model.marks import override
from everfresh.model.position import Position

LogFormat = Literal["json", "text"]
# A wide event may touch thousands of entries; a line that is megabytes long helps nobody.
N_SHOWN = 20
RESERVED = frozenset({"time", "level", "pid", "logger", "event", "traceback"})
"""What each line has of its own; no field of a notice is called so."""

_NAME_AND_FIELDS = " %s"


def configure(form: LogFormat, level: str) -> None:
    """Write all records to standard error from now on, Everfresh's from this level up, others from INFO at least."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(least, logging.INFO))
    logging.getLogger("everfresh").setLevel(least)
    # It says in prose what the process says by name.
    logging.getLogger("uvicorn").setLevel(max(least, logging.WARNING))


def log_in_short() -> None:
    """Where nothing else says how, warnings are short lines from now on.

    That the store does not answer is not among them: a command that asks it ends with an error that says so.
    """
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(ShortLines())
    handler.addFilter(lambda record: _said(record)[0] != StoreUnavailable.code)
    logging.lastResort = handler


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_plain(line_of(record)), allow_nan=False)


class TextLines(logging.Formatter):
    """The same for people; whatever is in it, a terminal shows it and does nothing else."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = line_of(record)
        trace = str(line.pop("traceback", ""))
        begin = f"{line.pop('time')} {str(line.pop('level')).upper():<8} {line.pop('event')}"
        del line["pid"], line["logger"]
        fields = [f"{name}={_plain(value)}" for name, value in line.items()]
        first = printable(" ".join([begin, *fields]))
        return "\n".join([first, *(f"  {printable(below)}" for below in trace.splitlines())])


class ShortLines(logging.Formatter):
    """The event and its fields, and nothing else."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        event, fields = _said(record)
        return printable(", ".join([event, *(f"{name}: {_plain(value)}" for name, value in fields.items())]))


def line_of(record: logging.LogRecord) -> dict[str, object]:
    """What the record says: when, how grave, which process, the event, and its fields."""
    event, fields = _said(record)
    whole = math.floor(record.created)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int(record.msecs):03d}Z"
    line: dict[str, object] = {
        "time": at,
        "level": record.levelname.lower(),
        "pid": os.getpid(),
        "logger": record.name,
        "event": event,
    }
    line.update((name, value) for name, value in fields.items() if name not in RESERVED)
    if record.exc_info and isinstance(record.exc_info[1], Exception):
        line["traceback"] = trace_of(record.exc_info[1])
    return line


def trace_of(error: Exception) -> str:
    """Where the error came from; of one that may hold a secret no text but the places and its type."""
    if holds_secret(error):
        return "".join([*traceback.format_tb(error.__traceback__), told_of(error)])
    return "".join(traceback.format_exception(error)).rstrip()


def _said(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    notice = getattr(record, "everfresh_notice", None)
    if isinstance(notice, str):
        return notice, cast("Mapping[str, object]", record.__dict__["everfresh_fields"])
    if record.msg == "%s %s" and isinstance(record.args, tuple) and isinstance(record.args[-1], Mapping):
        return str(record.args[0]), cast("Mapping[str, object]", record.args[-1])
    # Logging unpacks a single mapping, but leaves an empty one where it is.
    found = record.args[0] if isinstance(record.args, tuple) and len(record.args) == 1 else record.args
    if isinstance(found, Mapping) and str(record.msg).endswith(_NAME_AND_FIELDS):
        return str(record.msg).removesuffix(_NAME_AND_FIELDS), cast("Mapping[str, object]", found)
    return record.getMessage(), {}


def _plain(value: object) -> object:
    """The value as JSON has it, long sequences cut short."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Position():
            return value.text
        case Mapping():
            return {str(name): _plain(one) for name, one in cast("Mapping[object, object]", value).items()}
        case list() | tuple() | set() | frozenset():
            items = list(cast("list[object]", value))
            more = [f"and {len(items) - N_SHOWN} more"] if len(items) > N_SHOWN else []
            return [*map(_plain, items[:N_SHOWN]), *more]
        case _:
            return str(value)
