"""The steps as Lua: which files they are put together from, and the constants that Python owns.

All steps are one library of functions: what stands at the top of the files is carried out once. Where nobody may load
a library, each step is a script of its own, which does that at each call, and takes the server 30 µs more: the files
that the step needs, each after what it needs itself, and a last line that names the step. So it is too where a server
whose memory is full takes no library, or has lost it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import cast

from everfresh.matching.shapes import CALL_SHAPE
from everfresh.model.entry import State
from everfresh.protocol import scheduling
from everfresh.protocol.sourcing import MAX_REPORTS
from everfresh.protocol.states import TRANSITIONS
from everfresh.stores import changing, evicting, memory, tables
from everfresh.stores.redis.applying import MAX_TOUCHED
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S

_FIRST, _LAST = "head", "main"
# Which file has which step; a step is a function of its name there.
_STEPS = {
    "building": ("load", "load_many", "begin", "commit", "fail", "give_up", "extend"),
    "changing": ("candidates", "apply", "touch", "pace", "register", "put", "delete"),
    "queueing": (
        "take_due",
        "enqueue",
        "retry",
        "note",
        "greet",
        "distrust_begin",
        "distrust_scan",
        "distrust_rows",
        "distrust_end",
    ),
    "asking": ("read_feed", "explain", "scan"),
    "evicting": ("coldest",),
    "following": ("follow", "behind"),
    "sourcing": ("keep_offsets", "tell", "read_some", "forget", "quarantine", "read_ids", "read_after", "release"),
    "carrying": (
        "expect",
        "attach",
        "carry",
        "delivered",
        "pending",
        "hear",
        "peek",
        "outer",
        "allow",
        "set_paces",
        "started",
    ),
}
_FILE_OF = {step: file for file, steps in _STEPS.items() for step in steps}
_NEEDS = re.compile(r"^-- needs:(.*)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--")
_TABLE = re.compile(r"^local (\w+) = (?=\{)", re.MULTILINE)
_LINE_IN_SCRIPT = re.compile(r"user_script:(\d+)")
_LINE_IN_FUNCTION = re.compile(r"user_function:(\d+)")

# While the server loads a library, it can do nothing yet. So the files are carried out at the first call.
_LIBRARY_NAME = "everfresh_NAME"
_LIBRARY_BEGIN = f"#!lua name={_LIBRARY_NAME}\nlocal run, steps\nlocal function make()"
_LIBRARY_END = f"""local function offer(name, flags)
redis.register_function{{
function_name = '{_LIBRARY_NAME}_' .. name,
callback = function(keys, argv)
if not steps then run, steps = make() end
return run(steps[name], keys, argv)
end,
flags = flags,
}}
end"""
_N_NAME_DIGITS = 16
# What brings more into the store is refused when its memory is full; all else must go on, or nothing could leave it.
_NEED_MEMORY = frozenset({"begin", "commit", "put", "enqueue", "register", "take_due", "quarantine"})

_CONSTANTS: dict[str, object] = {
    "CALL_SHAPE": bytes(CALL_SHAPE.id),
    "STATES": {number: state.value for number, state in enumerate(State, start=1)},
    "HEAD_START_S": scheduling.HEAD_START_S,
    "WATCHED_LEVELS": scheduling.WATCHED_LEVELS,
    "RECENT_LEVELS": scheduling.RECENT_LEVELS,
    "RECENT_S": scheduling.RECENT_S,
    "BREAK_AFTER_KEYS": scheduling.BREAK_AFTER_KEYS,
    "BREAK_AFTER_FAILURES": scheduling.BREAK_AFTER_FAILURES,
    "FIRST_PAUSE_S": scheduling.FIRST_PAUSE_S,
    "LONGEST_PAUSE_S": scheduling.LONGEST_PAUSE_S,
    "ROUNDING_S": scheduling.ROUNDING_S,
    "SUBSCRIPTION_LEASE_S": SUBSCRIPTION_LEASE_S,
    "MAX_FEED": memory.MAX_FEED,
    "MAX_FIRED": memory.MAX_FIRED,
    "MAX_PROBES": memory.MAX_PROBES,
    "MARKS_KEPT_FOR_LEASES": tables.MARKS_KEPT_FOR_LEASES,
    "MAX_TOUCHED": MAX_TOUCHED,
    "N_SWEPT": changing.N_SWEPT,
    "N_LOOKED_AT": changing.N_LOOKED_AT,
    "N_REMEMBERED": changing.N_REMEMBERED,
    "N_COLDEST": evicting.N_COLDEST,
    "MAX_SPARED": evicting.MAX_SPARED,
    "N_OUTER": evicting.N_OUTER,
    "MAX_EVICTED": evicting.MAX_EVICTED,
    "MAX_REPORTS": MAX_REPORTS,
}


@dataclass(frozen=True, slots=True)
class Script:
    """One step's Lua, alone: its text, and its SHA; `function` is what the library calls the step.

    `lines` says of each line, from the first, where it comes from.
    """

    name: str
    function: str
    text: str
    sha: str
    lines: tuple[str, ...]

    def located(self, message: str) -> str:
        """The server's message about an error in it, with the files' own lines."""
        message = _LINE_IN_SCRIPT.sub(lambda found: _place(self.lines, found), message)
        return _LINE_IN_FUNCTION.sub(lambda found: _place(library().lines, found), message)


@dataclass(frozen=True, slots=True)
class Library:
    """All steps as functions of one library, and where each of its lines comes from."""

    name: str
    text: str
    lines: tuple[str, ...]


def _place(lines: tuple[str, ...], found: re.Match[str]) -> str:
    number = int(found[1])
    return lines[number - 1] if 0 < number <= len(lines) else found[0]


@cache
def script_of(step: str) -> Script:
    """The script of a step; put together once.

    Raises:
        KeyError: there is no such step.
    """
    file = _FILE_OF[step]
    made = _Made()
    made.add("first", f"#!lua{_flags_of(step, ' flags=allow-oom')}")
    made.add("CONST", _constants_text())
    for name in _needed(file):
        _add_file(made, name)
    made.add("last", f"return run({file}.{step}, KEYS, ARGV)")
    return Script(step, f"{library().name}_{step}", made.text(), made.sha(), tuple(made.places))


@cache
def library() -> Library:
    """The library of all steps; put together once. Its name tells it from that of any other version."""
    made = _Made()
    made.add("first", _LIBRARY_BEGIN)
    made.add("CONST", _constants_text())
    for name in dict.fromkeys(name for file in _STEPS for name in _needed(file) if name != _LAST):
        _add_file(made, name)
    _add_file(made, _LAST)
    steps = ",".join(f"{step}={file}.{step}" for step, file in _FILE_OF.items())
    made.add("last", f"return run, {{{steps}}}\nend")
    made.add("last", _LIBRARY_END)
    for step in _FILE_OF:
        flags = _flags_of(step, "'allow-oom'")
        made.add("last", f"offer('{step}', {{{flags}}})")
    name = f"everfresh_{made.sha()[:_N_NAME_DIGITS]}"
    # Its first line names it; the others cannot, as the name is made from them.
    text = made.text().replace(_LIBRARY_NAME, name)
    return Library(name, text, tuple(made.places))


class _Made:
    """A text that is put together, and where its lines come from."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.places: list[str] = []

    def add(self, name: str, text: str) -> None:
        """Without comments and indentation, which no server needs; line by line, so that its numbers lead somewhere."""
        for number, line in enumerate(text.split("\n"), start=1):
            self.lines.append("" if _COMMENT.match(line) else line.strip())
            self.places.append(f"{name}.lua:{number}")

    def text(self) -> str:
        return "\n".join(self.lines)

    def sha(self) -> str:
        return sha1(self.text().encode(), usedforsecurity=False).hexdigest()


def _add_file(made: _Made, name: str) -> None:
    """In a block of its own: a function has at most 200 local names. Of most files only the table is used by others."""
    if name in {_FIRST, _LAST} or name.startswith("tables"):
        made.add(name, _text_of(name))
        return
    text = _text_of(name)
    own = _TABLE.search(text)
    if own is not None:
        made.add(name, f"local {own[1]}")
        text = text.replace(own[0], own[0].removeprefix("local "), 1)
    made.add(name, f"do {text}")
    made.add(name, "end")


def _flags_of(step: str, though_full: str) -> str:
    return "" if step in _NEED_MEMORY else though_full


def _needed(file: str) -> list[str]:
    """The file and all that it needs, directly or not, each after what it needs itself."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in found:
            for needed in _direct_needs(name):
                add(needed)
            found[name] = None

    for name in (_FIRST, file, _LAST):
        add(name)
    return list(found)


def _direct_needs(file: str) -> list[str]:
    named = _NEEDS.search(_text_of(file))
    return [] if named is None else [name for part in named[1].split(",") if (name := part.strip(" ."))]


@cache
def _text_of(file: str) -> str:
    return (files("everfresh.stores.redis") / "lua" / f"{file}.lua").read_text("utf-8").rstrip("\n")


def _constants_text() -> str:
    transitions: dict[str, dict[str, str]] = {}
    for (state, step), after in TRANSITIONS.items():
        transitions.setdefault(state.value, {})[step.value] = after.value
    return "local CONST = " + _lua({**_CONSTANTS, "TRANSITIONS": transitions})


def _lua(value: object) -> str:
    """The value as Lua writes it."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return "{" + ",".join(f"[{_lua(name)}]={_lua(inner)}" for name, inner in items) + "}"
    if isinstance(value, str):
        return f'"{value}"' if value.isidentifier() else _lua(value.encode())
    if isinstance(value, bytes):
        # In decimal, three digits each, so that none can run into the next.
        return '"' + "".join(f"\\{byte:03}" for byte in value) + '"'
    return repr(value)
