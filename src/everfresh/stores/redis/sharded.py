"""ShardedStore: one store over several shards, each of which is a store on Redis of its own.

    request ──▶ rules over shards (sharding*.py) ──parts──▶ shards ──▶ what they tell each other ──▶ answer

Rules
- Each part is one atomic step of one shard. Between two of them others may do theirs, or this process may die: what was
  to be told to another shard stands in an outbox until it was, and somebody else carries it.
- A request's answer is given when all that its steps had to tell was carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar, cast
from zlib import crc32

from everfresh.model.clock import Clock
from everfresh.model.entry import State
from everfresh.model.errors import StoreUnavailable
from everfresh.model.marks import override
from everfresh.protocol.applying import Apply
from everfresh.protocol.queueing import Distrust, Enqueue, Retry, TakeDue
from everfresh.protocol.requests import Commit, Delete, Fail, GiveUp, Load, Loaded, Put, ReadFeed, Request
from everfresh.stores.redis.addresses import Address, address_of
from everfresh.stores.redis.gates import Gates
from everfresh.stores.redis.nodes import Nodes
from everfresh.stores.redis.shard import Shard
from everfresh.stores.redis.sharding import Done, Parts, Sharding, share_of
from everfresh.stores.redis.sharding_events import KnownShapes, apply
from everfresh.stores.redis.sharding_queue import Known, take_due
from everfresh.stores.redis.sharding_rounds import side_by_side, side_by_side_async
from everfresh.stores.redis.sharding_routes import ROUTES
from everfresh.stores.redis.sharding_steps import Asked, Unattached
from everfresh.stores.redis.sharding_streams import ShardedStream
from everfresh.stores.store import FeedStream, StepListener, Store
from everfresh.stores.tables import NO_ROOM_LIMIT, LastRead, Room

A = TypeVar("A")

_SEQUENCES_OF_ONE_LIFE = 2**64
# After these other entries may be due than were seen.
_QUEUEING = (Apply, Delete, Distrust, Enqueue, Fail, GiveUp, Put, Retry)


class ShardedStore(Store):
    """Entries in Redis or Valkey, spread over several shards by their keys."""

    def __init__(
        self, url: str | Address, n_shards: int = 0, *, clock: Clock | None = None, room: Room = NO_ROOM_LIMIT
    ) -> None:
        self.address = address_of(url) if isinstance(url, str) else url
        n_shards = n_shards or self.address.shards
        self.sharding = Sharding(n_shards)
        self._shapes = KnownShapes(n_shards)
        self._nodes = Nodes(self.address)
        gates, numbers = Gates(str(self.address)), range(n_shards)
        rooms = [share_of(room, n_shards, number) for number in numbers]
        self.shards = tuple(
            Shard(self.address, self._nodes, gates, (n_shards, number), clock=clock, room=rooms[number])
            for number in numbers
        )
        """The stores that it is made of."""
        self._is_open = False
        self._turns = count()
        # By a clock of a test more may be due in no time.
        self._known = Known() if clock is None else None
        # Before anybody asks, as everybody who finds it undone does it. Without a server it is done when one is there.
        with suppress(StoreUnavailable):
            self._run(self._open())

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
        if isinstance(request, Commit) and self._is_open:
            number = self.sharding.shard_of(request.lease.key)
            done = self.shards[number].do(Asked(request, 0, is_last=False))
            if self._is_all(done, number):
                return cast("A", done.answer)
            return cast("A", self._run(self._steps_after(request, done)))
        return cast("A", self._run(self._steps_of(request)))

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        if isinstance(request, Load) and self._is_open:
            number = self.sharding.shard_of(request.key)
            loaded = await self.shards[number].carry_out_async(request)
            if not self._is_unclear(loaded, number):
                return cast("A", loaded)
        if isinstance(request, Commit) and self._is_open:
            number = self.sharding.shard_of(request.lease.key)
            done = await self.shards[number].do_async(Asked(request, 0, is_last=False))
            if self._is_all(done, number):
                return cast("A", done.answer)
            return cast("A", await self._run_async(self._steps_after(request, done)))
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
        if not self.shards[0].is_forked:
            self._nodes.close()

    def stream(self) -> FeedStream:
        """A place in the feed, at its end as it is when it is first asked."""
        return ShardedStream(self.shards)

    def _is_unclear(self, loaded: Loaded, number: int) -> bool:
        """Whether more than its shard has to be asked."""
        if self.shards[number].epoch != self.sharding.epochs[number]:
            return True
        return bool(loaded.unsettled) and loaded.entry is not None and loaded.entry.state is State.SUSPECT

    def _is_all(self, done: Done, number: int) -> bool:
        """Whether what came of the first step is all that there is to do."""
        is_said = done.posted or done.paces or isinstance(done.answer, Unattached)
        return not is_said and done.epoch == self.sharding.epochs[number]

    def _steps_after(self, request: Request[Any], done: Done) -> Parts[Any]:
        """The steps of a request whose first was carried out already."""
        steps = ROUTES[type(request)](self.sharding, request)
        next(steps)
        dones: Sequence[Done] = [done]
        while True:
            try:
                parts = steps.send(dones)
            except StopIteration as stop:
                return stop.value
            dones = yield parts

    def _steps_of(self, request: Request[Any]) -> Parts[Any]:
        if not self._is_open:
            yield from self._open()
        try:
            return (yield from self._route(request))
        finally:
            # Who looked before that has not seen it, or not on all shards.
            if isinstance(request, _QUEUEING) and self._known is not None:
                self._known.forget()

    def _route(self, request: Request[Any]) -> Parts[Any]:
        if isinstance(request, Apply):
            return (yield from apply(self.sharding, self._shapes, request))
        if isinstance(request, TakeDue):
            return (yield from take_due(self.sharding, request, next(self._turns), self._known))
        return (yield from ROUTES[type(request)](self.sharding, request))

    def _open(self) -> Parts[None]:
        """Have every shard know in which epochs the others are."""
        dones = yield self.sharding.everywhere(ReadFeed(None))
        yield from self.sharding.hear({shard: done.answer.position.epoch for shard, done in enumerate(dones)})
        self._is_open = True

    def _run(self, steps: Parts[Any]) -> Any:  # noqa: ANN401 - whatever the request is answered with
        try:
            parts = next(steps)
            while True:
                if len(parts) == 1:
                    parts = steps.send([self.shards[parts[0].shard].do(parts[0].request)])
                else:
                    parts = steps.send(side_by_side(self.shards, parts))
        except StopIteration as stop:
            return stop.value

    async def _run_async(self, steps: Parts[Any]) -> Any:  # noqa: ANN401 - as above
        try:
            parts = next(steps)
            while True:
                if len(parts) == 1:
                    parts = steps.send([await self.shards[parts[0].shard].do_async(parts[0].request)])
                else:
                    parts = steps.send(await side_by_side_async(self.shards, parts))
        except StopIteration as stop:
            return stop.value
