"""ShardedStream: the feeds of all shards as one, in the thread that takes.

    wait for all streams, or until leases are to be renewed ──▶ told early ──▶ follow those shards ──▶ told
         ▲                                                                                           │
         └───────────────────────────────────────────────────────────────────────────────────────────┘

To follow is one packet to each node.
A shard that brought something is followed again before anything is waited for, to pass on that it was told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from math import inf
from typing import Any

from redis import exceptions

from everfresh.model.entry import FeedRecord
from everfresh.model.errors import StoreClosed
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from everfresh.stores.redis import wire
from everfresh.stores.redis.clients import CLOSED
from everfresh.stores.redis.early import GIVE_WAY_S, last_of, untold
from everfresh.stores.redis.exchange import Ask, exchange
from everfresh.stores.redis.failures import DRIVER_ERRORS, described
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S, Follow
from everfresh.stores.redis.repairing import is_damage
from everfresh.stores.redis.scripts import script_of
from everfresh.stores.redis.shard import Shard
from everfresh.stores.redis.sharding_waits import Waits
from everfresh.stores.store import FeedStream, News

# A renewal may fail, and the next still comes in time. Where one is due, all are that will be soon.
_RENEW_S = SUBSCRIPTION_LEASE_S / 4
_RENEW_WITH_S = _RENEW_S / 2
_MAX_RECORDS = 1_000
_LONGEST_PAUSE_S = 0.01
# Whether a sweep was left off, and whether the store is closed.
_LOOK_EVERY_S = 5.0


class _Followed:
    """How far one shard's feed was followed by this stream."""

    __slots__ = ("asked_at", "early", "is_told", "look_at", "shard")

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.look_at = -inf
        self.asked_at = -inf
        # Whether all that it brought was told, as far as the shard knows.
        self.is_told = False
        # Of what waits to be followed, how far was told.
        self.early: Position | None = None


class ShardedStream(FeedStream):
    """Follows all shards."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._address = shards[0].address
        self._all = [_Followed(shard) for shard in shards]
        self._waits = Waits(shards, is_together=self._address.kind != "cluster")
        # Before it asks again.
        self._pause_s = 0.0
        self._current_until = -inf
        self._taking = threading.Lock()
        self._is_closed = False

    @override
    def take(self) -> News:
        with self._taking:
            try:
                return self._taken()
            except DRIVER_ERRORS as error:
                for one in self._all:
                    # It may say that a server is another one by now, or was in between.
                    one.shard.standing.forget()
                raise described(self._address, error) from error
            finally:
                if self._is_closed:
                    self._waits.close()

    @override
    def close(self) -> None:
        self._is_closed = True
        self._waits.ring()
        # Who takes closes what it waits on; else nobody takes.
        if self._taking.acquire(blocking=False):
            self._waits.close()
            self._taking.release()

    def _taken(self) -> News:
        self._check()
        self._look()
        if self._pause_s:
            self._waits.pause(self._pause_s)
            self._check()
        due = self._due()
        if not due:
            if records := self._heard():
                self._pause_s = GIVE_WAY_S
                return News(records, is_reset=False, current_until=self._current_until, is_at_end=False)
            due = self._due()
        return self._news(due)

    def _heard(self) -> tuple[FeedRecord, ...]:
        """What came while there was nothing else to do; what it is worth, the next to follow says."""
        heard = self._waits.wait(min(one.asked_at for one in self._all) + _RENEW_S)
        self._check()
        records: list[FeedRecord] = []
        for one in self._all:
            told = one.shard.followed.told
            if one.shard not in heard or told is None:
                continue
            one.is_told = False
            if some := heard[one.shard]:
                one.early = last_of(some, told)
                records += some
        return tuple(records)

    def _news(self, due: Sequence[_Followed]) -> News:
        began_at = time.monotonic()
        before = [one.early for one in due]
        batches = self._followed(due)
        records: list[FeedRecord] = []
        is_reset = any(batch.is_reset for batch in batches)
        for batch, early in () if is_reset else zip(batches, before, strict=True):
            records += untold(batch.records, early, batch.position)
        # Where much is told, at most a third of the time goes into telling; what comes meanwhile is told together.
        self._pause_s = min(2 * (time.monotonic() - began_at), _LONGEST_PAUSE_S) if records else 0.0
        self._current_until = min(one.asked_at for one in self._all) + SUBSCRIPTION_LEASE_S
        is_at_end = all(len(batch.records) < _MAX_RECORDS for batch in batches)
        return News(tuple(records), is_reset, self._current_until, is_at_end)

    def _look(self) -> None:
        now = time.monotonic()
        for place, one in enumerate(self._all):
            if now >= one.look_at or not one.shard.standing.is_known:
                # Not all at the same moment.
                one.look_at = now + _LOOK_EVERY_S * (1 + place / len(self._all))
                one.shard.look_again()

    def _due(self) -> list[_Followed]:
        """Those that are not waited for now."""
        now = time.monotonic()
        untold = [one for one in self._all if not one.is_told]
        if untold or now >= min(one.asked_at for one in self._all) + _RENEW_S:
            return [one for one in self._all if not one.is_told or now >= one.asked_at + _RENEW_WITH_S]
        return []

    def _followed(self, some: Sequence[_Followed]) -> list[FeedBatch]:
        asked_at = time.monotonic()
        asks = [_ask_of(one.shard) for one in some]
        exchange([ask for _, ask in asks])
        # All of them, before any counts as told: where one raises, what the others brought is not passed on.
        batches: list[FeedBatch] = [
            wire.decode(request, reply_of(one.shard, ask)).answer
            for one, (request, ask) in zip(some, asks, strict=True)
        ]
        for one, batch in zip(some, batches, strict=True):
            one.asked_at = asked_at
            one.shard.followed.told, one.shard.followed.is_damaged = batch.position, False
            one.is_told, one.early = not batch.is_reset and not batch.records, None
        return batches

    def _check(self) -> None:
        if self._is_closed:
            raise StoreClosed(CLOSED)


def _ask_of(shard: Shard) -> tuple[Follow, Ask]:
    request = Follow(shard.followed.id, shard.followed.told, _MAX_RECORDS)
    payload = wire.encode(request, shard.unrepeated_head())
    script, arguments = script_of(payload.script), (payload.packed, *payload.blobs)
    return request, Ask(shard.standing, shard.key, script, arguments, shard.standing.place())


def reply_of(shard: Shard, ask: Ask) -> Any:  # noqa: ANN401 - the driver's
    """What came of it; some of it may have to be asked again. Raises the driver's errors."""
    if not isinstance(ask.found, Exception):
        return ask.found
    try:
        if not isinstance(ask.found, exceptions.ResponseError):
            raise ask.found
        # It may have to be told what a follower is, or the shard is elsewhere.
        return shard.clients.blocking.run(ask.script, ask.key, ask.arguments)
    except DRIVER_ERRORS as error:
        shard.followed.is_damaged = is_damage(error)
        raise
