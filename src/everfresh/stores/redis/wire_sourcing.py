"""How requests about sources travel. Reports and messages are packed here: the scripts keep them as they are.

What cannot be read, as somebody's hand has been there, is as good as not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from everfresh.protocol.requests import Request
from everfresh.protocol.sourcing import Report, Reported, SourceState, Tell, Unreadable
from everfresh.stores.redis import sourcing as steps
from everfresh.stores.redis.wire_events import packed_offsets
from everfresh.stores.redis.wire_groups import as_text
from everfresh.stores.redis.wire_replies import Decoded, Reply, Told, answered, decoded, no_answer
from everfresh.stores.redis.wire_requests import Fields

_encode = msgspec.msgpack.Encoder().encode
_report_of = msgspec.msgpack.Decoder(Report).decode
_message_of = msgspec.msgpack.Decoder(Unreadable).decode


class _Source(msgspec.Struct, array_like=True):
    name: int
    offset: int | None
    reports: list[tuple[float, int]]
    n_quarantined: int


class _Some(msgspec.Struct, array_like=True):
    now: float
    sources: list[_Source]
    is_end: bool


_Numbered = list[tuple[int, float, int]]

_decode_some = msgspec.msgpack.Decoder(Told[_Some]).decode
_decode_with_ids = msgspec.msgpack.Decoder(Told[tuple[_Numbered, int]]).decode
_decode_after = msgspec.msgpack.Decoder(Told[tuple[_Numbered, int, bool]]).decode


def _keep_offsets(request: steps.KeepOffsets) -> Fields:
    return {"offsets": packed_offsets(request.offsets)}


def _tell(request: Tell) -> Fields:
    report = request.report
    return {"source": report.source, "consumer": report.consumer, "report": as_text(_encode(report))}


def _read_some(request: steps.ReadSome) -> Fields:
    return {"names": request.names, "after": as_text(request.after), "n": steps.N_READ}


def _some(_: steps.ReadSome, reply: Reply) -> Decoded[steps.SomeSources]:
    told = _decode_some(reply[0])
    found = told.answer
    states = [state for source in found.sources if (state := _state(source, reply)) is not None]
    last = reply[found.sources[-1].name] if found.sources else b""
    return decoded(told, steps.SomeSources(tuple(states), found.now, last, found.is_end))


def _state(source: _Source, reply: Reply) -> SourceState | None:
    """None of one of which nothing is known."""
    name = _text(reply[source.name])
    offset = None if source.offset is None else _text(reply[source.offset])
    reports = [Reported(report, at) for at, blob in source.reports if (report := _report(reply[blob])) is not None]
    if name is None or (offset is None and not reports and not source.n_quarantined):
        return None
    return SourceState(source=name, offset=offset, reports=tuple(reports), n_quarantined=source.n_quarantined)


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _report(data: bytes) -> Report | None:
    try:
        return _report_of(data)
    except msgspec.DecodeError:
        return None


def _forget(request: steps.ForgetSome) -> Fields:
    return {"names": request.names}


def _quarantine(request: steps.QuarantineSome) -> Fields:
    messages = [
        (one.id, one.source, as_text(_encode(replace(one, at=0.0, place=0))), one.at if request.keeps_at else None)
        for one in request.messages
    ]
    return {"messages": messages, "n_max": request.n_max, "max_bytes": request.max_bytes}


def _read_ids(request: steps.ReadIds) -> Fields:
    return {"ids": request.ids}


def _read_after(request: steps.ReadAfter) -> Fields:
    return {"after": request.after, "source": request.source, "n": steps.N_READ}


def _with_ids(_: steps.ReadIds, reply: Reply) -> Decoded[steps.Found]:
    told = _decode_with_ids(reply[0])
    found, n_looked_at = told.answer
    return decoded(told, steps.Found(_numbered(found, reply), n_looked_at))


def _after(_: steps.ReadAfter, reply: Reply) -> Decoded[steps.Found]:
    told = _decode_after(reply[0])
    found, last, is_end = told.answer
    return decoded(told, steps.Found(_numbered(found, reply), last, is_end))


def _numbered(found: _Numbered, reply: Reply) -> tuple[tuple[Unreadable, int], ...]:
    return tuple(
        (replace(message, at=at, place=number), len(reply[blob]))
        for number, at, blob in found
        if (message := _message(reply[blob])) is not None
    )


def _message(data: bytes) -> Unreadable | None:
    try:
        return _message_of(data)
    except msgspec.DecodeError:
        return None


def _release(request: steps.ReleaseSome) -> Fields:
    return {"ids": request.ids}


Wire = tuple[str, Callable[[Any], Fields], Callable[[Any, Reply], Decoded[Any]], bool]

# The values cannot be typed more narrowly in one table: each takes its own request.
WIRES: dict[type[Request[Any]], Wire] = {
    steps.KeepOffsets: ("keep_offsets", _keep_offsets, answered(bool, no_answer), True),
    Tell: ("tell", _tell, answered(float), True),
    steps.ReadSome: ("read_some", _read_some, _some, False),
    steps.ForgetSome: ("forget", _forget, answered(int), True),
    steps.QuarantineSome: ("quarantine", _quarantine, answered(tuple[int, bool]), True),
    steps.ReadIds: ("read_ids", _read_ids, _with_ids, False),
    steps.ReadAfter: ("read_after", _read_after, _after, False),
    steps.ReleaseSome: ("release", _release, answered(tuple[int, int]), True),
}
