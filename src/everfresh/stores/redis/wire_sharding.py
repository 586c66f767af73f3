"""How the steps that only a store of several shards asks for travel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from everfresh.matching.shapes import call_bucket
from everfresh.model.entry import Key
from everfresh.protocol.requests import Request
from everfresh.stores.redis import sharding_steps as steps
from everfresh.stores.redis.pacing import Place, Placed
from everfresh.stores.redis.wire_groups import as_text
from everfresh.stores.redis.wire_replies import Decoded, Message, Reply, Told, answered, decoded, no_answer

Fields = dict[str, object]


class _Unattached(msgspec.Struct, array_like=True, tag="unattached"):
    keys: tuple[Key, ...]
    epoch: str
    places: tuple[int, ...]


_decode_refused = msgspec.msgpack.Decoder(Told[_Unattached]).decode


def refused(reply: Reply) -> Decoded[Any] | None:
    """The answer of a step that has to wait for what it hangs on; None of one that was carried out."""
    try:
        told = _decode_refused(reply[0])
    except msgspec.DecodeError:
        # Another answer, or one that is no msgpack.
        return None
    found = told.answer
    return decoded(told, steps.Unattached(found.keys, found.epoch, found.places))


def _expect(request: steps.Expect) -> Fields:
    return {"keys": request.keys}


def _attach(request: steps.Attach) -> Fields:
    return {"shard": request.shard, "keys": request.keys, "epoch": request.epoch, "places": request.places}


def _message(message: Message) -> Fields:
    return {**msgspec.structs.asdict(message), "call": as_text(call_bucket(message.key))}


def _carry(request: steps.Carry) -> Fields:
    news: Fields = {"news": [_message(message) for message in request.messages]}
    return news if request.per_s is None else {**news, "per_s": request.per_s}


def _delivered(request: steps.Delivered) -> Fields:
    return {"carried": request.carried, "detached": request.detached}


def _nothing(_: Request[Any]) -> Fields:
    return {}


def _hear(request: steps.Hear) -> Fields:
    return {"epochs": request.epochs, "after_id": request.after_id, "n": steps.N_GONE_THROUGH}


def _peek(request: steps.Peek) -> Fields:
    return {"functions": request.functions, "n_max": request.n_max}


def _allow(request: steps.Allow) -> Fields:
    return {"functions": request.functions, "n_max": request.n_max}


def _started(request: steps.Started) -> Fields:
    return {"functions": request.functions}


def _set_paces(request: steps.SetPaces) -> Fields:
    return {"paces": request.paces}


def _outer(request: steps.Outer) -> Fields:
    return {"call": as_text(call_bucket(request.key))}


def _carried(*found: Any) -> steps.Carried:  # noqa: ANN401 - as they were read
    touched, suspect, detached, place, placed = found
    return steps.Carried(touched, suspect, detached, place, None if placed is None else Placed(*placed))


_Places = tuple[str, tuple[int, ...]]
_Detached = tuple[tuple[Key, int, str, int], ...]
_Placed = tuple[float, tuple[Place, ...]]

Wire = tuple[str, Callable[[Any], Fields], Callable[[Any, Reply], Decoded[Any]], bool]

# The values cannot be typed more narrowly in one table: each takes its own request.
WIRES: dict[type[Request[Any]], Wire] = {
    steps.Expect: ("expect", _expect, answered(_Places), True),
    steps.Attach: ("attach", _attach, answered(tuple[Message, ...]), True),
    steps.Carry: (
        "carry",
        _carry,
        answered(
            tuple[tuple[Key, ...], tuple[Key, ...], _Detached, tuple[str, int], _Placed | None],
            lambda found: _carried(*found),
        ),
        True,
    ),
    steps.Delivered: ("delivered", _delivered, answered(bool, no_answer), True),
    steps.Pending: ("pending", _nothing, answered(tuple[Message, ...]), True),
    steps.Hear: ("hear", _hear, answered(tuple[bool, int]), True),
    steps.Peek: (
        "peek",
        _peek,
        answered(
            tuple[tuple[tuple[int, tuple[float, ...], float | None, bool], ...], float],
            lambda found: steps.Peeked(*found),
        ),
        True,
    ),
    steps.Outer: ("outer", _outer, answered(tuple[Key, ...]), False),
    steps.Allow: ("allow", _allow, answered(tuple[tuple[int, float | None], ...]), True),
    steps.SetPaces: ("set_paces", _set_paces, answered(bool, no_answer), True),
    steps.Started: ("started", _started, answered(bool, no_answer), True),
}
