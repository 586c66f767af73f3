"""Trace: what everybody did, in order, written out only when somebody wants to read it."""

from __future__ import annotations

from typing import Any

import msgspec

from everfresh.model.entry import Entry, Lease
from everfresh.protocol.applying import Applied, Apply, ShapesMoved
from everfresh.protocol.queueing import TakeDue, TookDue
from everfresh.protocol.requests import (
    Begin,
    Busy,
    Commit,
    Committed,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    Loaded,
    NotNeeded,
    Overtaken,
    Put,
    Register,
    Request,
)

_Line = str | tuple[str, Request[Any], Any]


class Trace:
    """Lines of what happened; requests are kept as they are and put into words at the end."""

    def __init__(self) -> None:
        self.who = ""
        """Who does what is noted next."""
        self.n_requests = 0
        """How many requests were carried out."""
        self._lines: list[_Line] = []

    def say(self, what: str) -> int:
        """Note something that is no request; gives its number."""
        self._lines.append(f"{self.who} {what}" if what.startswith("looks") else what)
        return len(self._lines)

    @property
    def now(self) -> int:
        """The number of what was noted last."""
        return len(self._lines)

    def note(self, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - one answer type for each request
        """Note a request and its answer."""
        self.n_requests += 1
        self._lines.append((self.who, request, answer))

    def text_of(self, request: Request[Any] | None) -> str:
        """A request in a few words."""
        return "the end" if request is None else _request(request)

    def lines(self) -> list[str]:
        """All of it."""
        return [
            line if isinstance(line, str) else f"{line[0]}: {_request(line[1])} -> {_answer(line[2])}"
            for line in self._lines
        ]


def _request(request: Request[Any]) -> str:  # noqa: PLR0911 - one for each kind
    match request:
        case Load(key=key) | Begin(key=key) | Put(key=key):
            return f"{type(request).__name__} {key}"
        case Commit(lease=lease, built=built, retry_in_s=retry_in_s):
            seen = {seen.key: seen.digest[:6] for seen in built.seen}
            makeshift = "" if retry_in_s is None else f" makeshift, again in {retry_in_s:g} s"
            below = f" from {seen} good from {built.good_from}" if seen else ""
            return f"Commit {lease.key} #{lease.token} {_value(built.value)}{below}{makeshift}"
        case Fail(lease=lease, reason=reason):
            return f"Fail {lease.key} #{lease.token} {reason}"
        case GiveUp(lease):
            return f"GiveUp {lease.key} #{lease.token}"
        case Extend(leases):
            return f"Extend {[f'{lease.key} #{lease.token}' for lease in leases]}"
        case Register(shapes):
            return f"Register {[shape.pattern for shape in shapes]}"
        case Delete(keys):
            return f"Delete {list(keys)}"
        case Apply(mentions=mentions):
            return f"Apply {', '.join(mention.text for mention in mentions)}"
        case TakeDue():
            return "TakeDue"
        case _:
            return type(request).__name__


def _answer(answer: Any) -> str:  # noqa: ANN401 - one answer type for each request
    match answer:
        case Loaded(entry=entry, position=position, is_leased=is_leased):
            return f"{_entry(entry)}{' leased' if is_leased else ''} at {position.sequence}"
        case Lease():
            return _lease(answer)
        case Busy(now=now, until=until):
            return f"busy for {until - now:g} s"
        case Committed(entry=entry, is_changed=is_changed, is_stored=is_stored):
            return f"{'changed' if is_changed else 'equal'}{'' if is_stored else ', not stored'}: {_entry(entry)}"
        case TookDue(due=due):
            return ", ".join(_lease(one.lease) for one in due) or "nothing due"
        case Applied(position=position, touched=touched, suspect=suspect):
            return f"at {position.sequence}, touched {list(touched)}, suspect {list(suspect)}"
        case NotNeeded() | Overtaken() | ShapesMoved():
            return type(answer).__name__
        case _:
            return repr(answer)[:100]


def _entry(entry: Entry | None) -> str:
    if entry is None:
        return "nothing"
    return f"{_value(entry.value)} {entry.state.value} v{entry.version} good as of {entry.position.sequence}"


def _lease(lease: Lease) -> str:
    return f"lease of {lease.key} #{lease.token} begun {lease.begun.sequence}"


def _value(value: bytes) -> str:
    return repr(msgspec.msgpack.decode(value))[:100]
