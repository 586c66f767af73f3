"""Requests as the maps that the scripts read.

Rules
- The names are those of the requests' fields. None is nil, which Lua does not tell from a field that is not there.
- Where Python goes through a mapping in its order, an array is sent: Lua's tables have none.
- What Lua cannot compute is sent: the hashes of buckets, and encoded events.
"""

from __future__ import annotations

import msgspec

from everfresh.matching.shapes import call_bucket
from everfresh.model.entry import Key, Lease, Recipe
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.inspecting import Explain
from everfresh.protocol.queueing import Enqueue, Note, Retry, TakeDue
from everfresh.protocol.requests import (
    Begin,
    Commit,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    LoadMany,
    Put,
    ReadFeed,
    Register,
)
from everfresh.stores.redis.chunks import DistrustBegin, DistrustEnd, DistrustRows, DistrustScan, Greet, Scan
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S, Follow
from everfresh.stores.redis.wire_groups import as_text, links_of, packed_groups, packed_shapes, shapes_and_ids

Fields = dict[str, object]
"""The fields of a request, as msgspec encodes them."""

_encode = msgspec.msgpack.Encoder().encode
# Of an array of 16 to 65,535 values.
_ARRAY_HEADER_BYTES = 3

# ------------------------------------------------------------------------------------------------------- builds


def load(request: Load) -> Fields:
    """See `Load`."""
    return {"key": request.key, "fingerprint": request.fingerprint}


def load_many(request: LoadMany) -> Fields:
    """See `LoadMany`."""
    return {"keys": request.keys, "fingerprint": request.fingerprint}


def begin(request: Begin) -> Fields:
    """See `Begin`."""
    ids, shapes = shapes_and_ids(request.shapes)
    return {
        **_of_call(request.key, request.recipe),
        "fingerprint": request.fingerprint,
        "ids": ids,
        "shapes": shapes,
        "lease_s": request.lease_s,
        "good_from": request.good_from,
        "terms": request.terms,
        "watched": packed_groups(request.watched),
    }


def commit(request: Commit) -> Fields:
    """See `Commit`; the value travels by itself, and so does all else, as `_committed`."""
    return {"key": request.lease.key}


def fail(request: Fail) -> Fields:
    """See `Fail`."""
    return {
        "lease": _lease(request.lease),
        "fingerprint": request.fingerprint,
        "reason": request.reason,
        "retry_in_s": request.retry_in_s,
        "roll": request.roll,
        "is_shared": request.is_shared,
    }


def give_up(request: GiveUp) -> Fields:
    """See `GiveUp`."""
    return {"lease": _lease(request.lease)}


def extend(request: Extend) -> Fields:
    """See `Extend`."""
    return {"leases": [_lease(lease) for lease in request.leases], "lease_s": request.lease_s}


def _of_call(key: Key, recipe: Recipe) -> Fields:
    return {
        "key": key,
        "call": as_text(call_bucket(key)),
        "func": recipe.function,
        "args": as_text(recipe.arguments),
    }


def _lease(lease: Lease) -> Fields:
    return {
        "key": lease.key,
        "token": lease.token,
        "epoch": lease.begun.epoch,
        "begun": lease.begun.sequence,
        "begun_at": lease.begun_at,
        "attempts": lease.attempts,
        "cause": lease.cause,
    }


def _committed(request: Commit) -> bytes:
    """One value after the other, in the order in which the step takes them: Lua's tables grow field by field."""
    lease, built = request.lease, request.built
    links = links_of(built.groups)
    values = (
        lease.token,
        lease.begun.epoch,
        lease.begun_at,
        lease.attempts,
        lease.cause or None,
        built.digest,
        built.good_from,
        built.build_s,
        built.expires_at,
        built.is_error,
        built.is_private,
        built.is_awaited,
        request.fingerprint,
        request.terms,
        request.retry_in_s,
        request.builder,
        [(seen.key, seen.digest) for seen in built.seen] or None,
        None if links.groups is None else as_text(links.groups),
        as_text(links.shapes),
        as_text(links.ids),
        None if links.marks is None else as_text(links.marks),
        None if links.places is None else as_text(links.places),
    )
    return _encode(values)[_ARRAY_HEADER_BYTES:]


# -------------------------------------------------------------------------------------------------------- queue


def take_due(request: TakeDue) -> Fields:
    """See `TakeDue`."""
    functions = [(name, limit.n_at_once, limit.per_s) for name, limit in request.functions.items()]
    return {"functions": functions, "n_max": request.n_max, "lease_s": request.lease_s}


def enqueue(request: Enqueue) -> Fields:
    """See `Enqueue`."""
    recipes = [
        (key, as_text(call_bucket(key)), recipe.function, as_text(recipe.arguments))
        for key, recipe in request.recipes.items()
    ]
    return {"recipes": recipes, "terms": request.terms}


def retry(request: Retry) -> Fields:
    """See `Retry`."""
    return {"keys": request.keys}


def note(request: Note) -> Fields:
    """See `Note`."""
    return {"reads": request.reads, "watched": request.watched}


def distrust_begin(request: DistrustBegin) -> Fields:
    """See `DistrustBegin`."""
    return {"reason": request.reason, "only_epoch": request.only_epoch}


def greet(request: Greet) -> Fields:
    """See `Greet`."""
    return {"run_id": request.run_id, "reason": request.reason}


def distrust_end(request: DistrustEnd) -> Fields:
    """See `DistrustEnd`."""
    return {"epoch": request.epoch}


def distrust_scan(request: DistrustScan) -> Fields:
    """See `DistrustScan`."""
    return {"after_id": request.after_id, "n": request.n}


def distrust_rows(request: DistrustRows) -> Fields:
    """See `DistrustRows`."""
    return {
        "keys": request.keys,
        "n_before": request.n_before,
        "per_s": request.per_s,
        "reason": request.reason,
        **({"places": request.places} if request.places is not None else {}),
    }


# ------------------------------------------------------------------------------------------------------ changes


def register(request: Register) -> Fields:
    """See `Register`."""
    return {"shapes": packed_shapes(request.shapes)}


def put(request: Put) -> Fields:
    """See `Put`; the value travels by itself."""
    return {
        "key": request.key,
        "digest": request.digest,
        "expires_s": request.expires_s,
        **standing(request),
    }


def delete(request: Delete) -> Fields:
    """See `Delete`."""
    calls = [as_text(call_bucket(key)) for key in request.keys] if request.outruns and request.keys else None
    return {"keys": request.keys, "calls": calls}


def standing(put: Put) -> Fields:
    """What a put depends on, and from when on that counts."""
    fence = put.fence
    return {
        "call": as_text(call_bucket(put.key)),
        "groups": packed_groups(put.groups),
        "fence_epoch": None if fence is None else fence.epoch,
        "fence_sequence": None if fence is None else fence.sequence,
        # Those of other shards, for what is built from entries there.
        **({"fences": dict(fence.others)} if fence is not None and fence.others else {}),
    }


# ---------------------------------------------------------------------------------------------------- questions


def read_feed(request: ReadFeed) -> Fields:
    """See `ReadFeed`."""
    after = request.after
    return {
        "after_epoch": None if after is None else after.epoch,
        "after_sequence": None if after is None else after.sequence,
        "n_max": request.n_max,
    }


def behind(request: Behind) -> Fields:
    """See `Behind`."""
    return {"epoch": request.position.epoch, "sequence": request.position.sequence}


def follow(request: Follow) -> Fields:
    """See `Follow`."""
    told = request.told
    return {
        "id": request.id,
        "epoch": None if told is None else told.epoch,
        "sequence": None if told is None else told.sequence,
        "lease_s": SUBSCRIPTION_LEASE_S,
        "n_max": request.n_max,
    }


def scan(request: Scan) -> Fields:
    """See `Scan`."""
    return {"after_id": request.after_id, "n": request.n}


def explain(request: Explain) -> Fields:
    """See `Explain`."""
    return {"key": request.key}


def blobs_of(request: object) -> tuple[bytes, ...]:
    """What travels beside the map, as it is: the value, and what else a commit says."""
    match request:
        case Commit(built=built):
            return (built.value, _committed(request))
        case Put(value=value):
            return (value,)
        case _:
            return ()
