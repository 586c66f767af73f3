"""ShardedStore: one store over several shards, each of which is a store on Redis of its own.

    request ──▶ rules over shards (sharding*.py) ──parts──▶ shards ──▶ what they tell each other ──▶ answer

Rules
- Each part is one atomic step of one shard. Between two of them others may do theirs, or this process may die: what was
  to be told to another shard stands in an outbox until it was, and somebody else carries it.
- A request's answer is given when all that its steps had to tell was carried.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from itertools import count
from math import ceil
from typing import Any, TypeVar, cast
from zlib import crc32

from everfresh.model.clock import Clock
from everfresh.model.entry import State
from everfresh.model.marks import override
from everfresh.protocol.applying import Apply
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import Load, Loaded, ReadFeed, Request
from everfresh.stores.redis.addresses import Address, address_of
from everfresh.stores.redis.sharding import Done, Part, Parts, Sharding, Spread
from everfresh.stores.redis.sharding_events import KnownShapes, apply
from everfresh.stores.redis.sharding_queue import take_due
from everfresh.stores.redis.sharding_routes import ROUTES
from everfresh.stores.redis.sharding_steps import Pending
from everfresh.stores.redis.sharding_streams import ShardedStream
from everfresh.stores.redis.store import RedisStore
from everfresh.stores.redis.wire_replies import Decoded, Message, Pace
from everfresh.stores.store import FeedStream, StepListener, Store
from everfresh.stores.tables import NO_ROOM_LIMIT, LastRead, Room

A = TypeVar("A")

_SEQUENCES_OF_ONE_LIFE = 2**64


class _Told:
    """What the steps of one part have to tell."""

    __slots__ = ("paces", "posted")

    def __init__(self) -> None:
        self.posted: list[Message] = []
        self.paces: list[Pace] = []


# A step may be carried out in any thread or task.
_told: ContextVar[_Told | None] = ContextVar("told", default=None)


class Shard(RedisStore):
    """One of them."""

    def do(self, request: Request[Any]) -> Done:
        """Carry out a part."""
        told = _Told()
        token = _told.set(told)
        try:
            return Done(self.carry_out(request), told.posted, told.paces, self.epoch)
        finally:
            _told.reset(token)

    async def do_async(self, request: Request[Any]) -> Done:
        """The same in an event loop."""
        told = _Told()
        token = _told.set(told)
        try:
            return Done(await self.carry_out_async(request), told.posted, told.paces, self.epoch)
        finally:
            _told.reset(token)

    @override
    def _tell(self, decoded: Decoded[Any]) -> None:
        told = _told.get()
        # What a sweep in the background has to tell stays in the outbox, and is carried from there.
        if told is not None:
            told.posted += decoded.posted
            told.paces += decoded.paces
        super()._tell(decoded)


class ShardedStore(Store):
    """Entries in Redis or Valkey, spread over several shards by their keys."""

    def __init__(
        self, url: str | Address, n_shards: int = 0, *, clock: Clock | None = None, room: Room = NO_ROOM_LIMIT
    ) -> None:
        self.address = address_of(url) if isinstance(url, str) else url
        n_shards = n_shards or self.address.shards
        self.sharding = Sharding(n_shards)
        self._shapes = KnownShapes(n_shards)
        of_each = Room(
            None if room.max_entries is None else ceil(room.max_entries / n_shards),
            None if room.max_bytes is None else ceil(room.max_bytes / n_shards),
        )
        self.shards = tuple(
            Shard(self.address, clock=clock, room=of_each, place=(n_shards, number)) for number in range(n_shards)
        )
        """The stores that it is made of."""
        self._is_open = False
        self._turns = count()

    @property
    @override
    def is_shared(self) -> bool:
        return True

    @override
    def carry_out(self, request: Request[A]) -> A:
        if isinstance(request, Load) and self._is_open:
            number = self.sharding.shard_of(request.key)
            loaded = self.shards[number].carry_out(request)
            if not self._is_unclear(loaded, number):
                return cast("A", loaded)
        return cast("A", self._run(self._steps_of(request)))

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        if isinstance(request, Load) and self._is_open:
            number = self.sharding.shard_of(request.key)
            loaded = await self.shards[number].carry_out_async(request)
            if not self._is_unclear(loaded, number):
                return cast("A", loaded)
        return cast("A", await self._run_async(self._steps_of(request)))

    @override
    def version(self) -> int:
        position = self.carry_out(ReadFeed(None)).position
        parts = position.parts()
        return sum(crc32(epoch.encode()) * _SEQUENCES_OF_ONE_LIFE + sequence for epoch, sequence in parts)

    @override
    def ask_last_read(self, last_read: LastRead) -> None:
        for shard in self.shards:
            shard.ask_last_read(last_read)

    @override
    def listen(self, listener: StepListener) -> None:
        for shard in self.shards:
            shard.listen(listener)

    @override
    def close(self) -> None:
        for shard in self.shards:
            shard.close()

    def stream(self) -> FeedStream:
        """A place in the feed, at its end as it is when it is first asked."""
        return ShardedStream([shard.stream() for shard in self.shards])

    def _is_unclear(self, loaded: Loaded, number: int) -> bool:
        """Whether more than its shard has to be asked."""
        if self.shards[number].epoch != self.sharding.epochs[number]:
            return True
        return bool(loaded.unsettled) and loaded.entry is not None and loaded.entry.state is State.SUSPECT

    def _steps_of(self, request: Request[Any]) -> Parts[Any]:
        if not self._is_open:
            yield from self._open()
        if isinstance(request, Apply):
            return (yield from apply(self.sharding, self._shapes, request))
        if isinstance(request, TakeDue):
            yield from self._sweep()
            return (yield from take_due(self.sharding, request))
        return (yield from ROUTES[type(request)](self.sharding, request))

    def _open(self) -> Parts[None]:
        """Have every shard know in which epochs the others are."""
        dones = yield self.sharding.everywhere(ReadFeed(None))
        yield from self.sharding.hear({shard: done.answer.position.epoch for shard, done in enumerate(dones)})
        self._is_open = True

    def _sweep(self) -> Parts[None]:
        """Carry what somebody else has left; one shard at a time, as workers ask often."""
        shard = next(self._turns) % self.sharding.n_shards
        (done,) = yield from self.sharding.ask([Part(shard, Pending())])
        yield from self.sharding.carry(done.answer, Spread())

    def _run(self, steps: Parts[Any]) -> Any:  # noqa: ANN401 - whatever the request is answered with
        try:
            parts = next(steps)
            while True:
                parts = steps.send([self.shards[part.shard].do(part.request) for part in parts])
        except StopIteration as stop:
            return stop.value

    async def _run_async(self, steps: Parts[Any]) -> Any:  # noqa: ANN401 - as above
        try:
            parts = next(steps)
            while True:
                if len(parts) == 1:
                    dones = [await self.shards[parts[0].shard].do_async(parts[0].request)]
                else:
                    dones = await asyncio.gather(*(self.shards[part.shard].do_async(part.request) for part in parts))
                parts = steps.send(dones)
        except StopIteration as stop:
            return stop.value
