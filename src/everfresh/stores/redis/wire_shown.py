"""Replies to questions of people and followers: the feed, lists, and what is known of one entry."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from everfresh.matching.shapes import CALL_SHAPE, TAG_SHAPE, Group, Shape, ShapeId, Values
from everfresh.model.entry import Key, State, Terms
from everfresh.model.position import Position
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.inspecting import Explain, Explained, Listed
from everfresh.protocol.requests import FeedBatch, ReadFeed
from everfresh.stores.redis.chunks import Scan, Scanned
from everfresh.stores.redis.following import Follow
from everfresh.stores.redis.wire_events import shape_of
from everfresh.stores.redis.wire_replies import Decoded, Record, Reply, Told, decoded, records_of


class _FeedBatch(msgspec.Struct, array_like=True):
    records: list[Record]
    epoch: str
    sequence: int
    is_reset: bool


class _Listed(msgspec.Struct, array_like=True):
    key: Key
    function: str
    state: State
    version: int
    built_at: float
    read_at: float
    stale_since: float | None
    reason: str
    attempts: int
    due: float | None
    n_bytes: int


class _Explained(msgspec.Struct, array_like=True):
    listed: _Listed
    groups: list[tuple[int, int, int | None]]
    seen: tuple[Key, ...]
    unsettled: tuple[Key, ...]
    outer: tuple[Key, ...]
    history: tuple[str, ...]
    builder: str
    terms: Terms | tuple[()]
    is_leased: bool
    expires_at: float | None
    watched_until: float


_decode_read_feed = msgspec.msgpack.Decoder(Told[_FeedBatch]).decode
_decode_behind = msgspec.msgpack.Decoder(Told[float]).decode
_decode_scan = msgspec.msgpack.Decoder(Told[tuple[list[_Listed], int, bool]]).decode
_decode_explain = msgspec.msgpack.Decoder(Told[_Explained | None]).decode
_decode_values = msgspec.msgpack.Decoder(tuple[Values, ...]).decode
# Events reach these by name, so no store learns them.
_NEVER_LEARNT: dict[ShapeId, Shape] = {shape.id: shape for shape in (TAG_SHAPE, CALL_SHAPE)}


def feed_batch(_: ReadFeed | Follow, reply: Reply) -> Decoded[FeedBatch]:
    """Of `ReadFeed` and `Follow`."""
    told = _decode_read_feed(reply[0])
    batch = told.answer
    return decoded(told, FeedBatch(records_of(batch.records), Position(batch.epoch, batch.sequence), batch.is_reset))


def behind(_: Behind, reply: Reply) -> Decoded[float]:
    """Of `Behind`."""
    told = _decode_behind(reply[0])
    return decoded(told, told.answer)


def scan(_: Scan, reply: Reply) -> Decoded[Scanned]:
    """Of `Scan`."""
    told = _decode_scan(reply[0])
    some, last_id, is_end = told.answer
    return decoded(told, Scanned(tuple(map(_listed, some)), last_id, is_end))


def explain(_: Explain, reply: Reply) -> Decoded[Explained | None]:
    """Of `Explain`."""
    told = _decode_explain(reply[0])
    packed = told.answer
    if packed is None:
        return decoded(told, None)
    explained = Explained(
        listed=_listed(packed.listed),
        groups=tuple(_groups(packed.groups, reply)),
        seen=packed.seen,
        unsettled=packed.unsettled,
        outer=packed.outer,
        history=packed.history,
        builder=packed.builder,
        terms=packed.terms or Terms(),
        is_leased=packed.is_leased,
        expires_at=packed.expires_at,
        watched_until=packed.watched_until,
    )
    return decoded(told, explained)


def _listed(packed: _Listed) -> Listed:
    return Listed(
        key=packed.key,
        function=packed.function,
        state=packed.state,
        version=packed.version,
        built_at=packed.built_at,
        read_at=packed.read_at,
        stale_since=packed.stale_since,
        reason=packed.reason,
        attempts=packed.attempts,
        due=packed.due,
        n_bytes=packed.n_bytes,
    )


def _groups(packed: Iterable[tuple[int, int, int | None]], reply: Reply) -> Iterable[Group]:
    for shape_id, values, blob in packed:
        shape = _NEVER_LEARNT.get(ShapeId(reply[shape_id]))
        if shape is None and blob is not None and reply[blob]:
            shape = shape_of(reply[blob])
        # One whose shape somebody deleted by hand cannot be told in words.
        if shape is not None:
            yield Group(shape, _decode_values(reply[values]))
