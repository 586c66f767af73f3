"""The store on Redis: each request is one Lua script on one slot of the server, and so one atomic step.

Rules
- Time is the server's, unless the store was given a clock.
- A step whose answer was lost is sent again under the same slot and serial, on another connection, so it is done once.
- Before an entry is dropped for want of room it is asked when it was last read here. A script cannot ask, so that goes
  with the request: see `coldest`.
- A server that cannot be reached when the store is opened is looked at with the first step that reaches it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast
from zlib import crc32

from redis import exceptions

from everfresh.model.clock import Clock
from everfresh.model.entry import FeedRecord, Key
from everfresh.model.errors import StoreClosed, StoreForked, StoreUnavailable
from everfresh.model.marks import override
from everfresh.protocol.applying import Apply
from everfresh.protocol.requests import Load, Loaded, ReadFeed, Request, Steps
from everfresh.stores.redis import wire
from everfresh.stores.redis.addresses import Address, address_of
from everfresh.stores.redis.applying import apply
from everfresh.stores.redis.cancelling import Cancellations
from everfresh.stores.redis.chunks import CHUNKED, Greet, sweep
from everfresh.stores.redis.circuit import Gate
from everfresh.stores.redis.clients import CLOSED, BlockingClient, Clients, LoopClient, Reply
from everfresh.stores.redis.coldest import Knowing, knowing
from everfresh.stores.redis.failures import DRIVER_ERRORS, Tries, described, is_out_of_order, is_unanswered
from everfresh.stores.redis.glimpse import Told, glimpsed, question_of, time_of
from everfresh.stores.redis.scripts import Script, script_of
from everfresh.stores.redis.servers import OTHER_RUN, SWEPT_PER_S, Look, Sweeper, run_id_of
from everfresh.stores.redis.slots import NOBODY, Slot, Slots
from everfresh.stores.redis.stream import Place, RedisStream
from everfresh.stores.redis.wire_replies import Decoded
from everfresh.stores.store import FeedStream, StepListener, Store
from everfresh.stores.tables import NO_ROOM_LIMIT, LastRead, Room, nobody_knows

A = TypeVar("A")
T = TypeVar("T")

_log = logging.getLogger("everfresh")
# No sequence comes near; so the versions of two lives do not meet.
_SEQUENCES_OF_ONE_LIFE = 2**64


_NOTHING_READ: Mapping[Key, float] = {}


class _Sent:
    """One step on its way."""

    __slots__ = ("arguments", "script", "slot", "tries")

    def __init__(self, script: Script, arguments: tuple[bytes, ...], slot: Slot, tries: Tries) -> None:
        self.script = script
        self.arguments = arguments
        self.slot = slot
        self.tries = tries


class RedisStore(Store):
    """Entries in Redis or Valkey. Without a clock the server's time counts; `retry_s` bounds the tries of one step."""

    def __init__(
        self,
        url: str | Address,
        *,
        clock: Clock | None = None,
        room: Room = NO_ROOM_LIMIT,
        retry_s: float = 3.0,
        place: tuple[int, int] | None = None,
    ) -> None:
        self.address = address_of(url) if isinstance(url, str) else url
        """Where it is; for whoever follows the feed."""
        self._clock = clock
        self._room = room
        self._retry_s = retry_s
        self._last_read: LastRead = nobody_knows
        # With several shards: how many, and which one this is.
        self._place = () if place is None else place
        self.key = f"{self.address.prefix}:{{s{0 if place is None else place[1]}}}:m"
        """The key of its counters, which routes each step; for tests."""
        self._counters_key = self.key.encode()
        # A Cluster's client sends commands to nodes, and no packets.
        self._may_glimpse = self.address.kind != "cluster"
        self._slots = Slots()
        self._listeners: list[StepListener] = []
        # Of its one follower.
        self._followed = Place()
        self._is_closed = False
        self._is_forked = False
        self._look = Look()
        self._gate = Gate(str(self.address), self._look_again)
        self._sweeper = Sweeper(self._swept)
        # As of the last step that said it; empty before the first.
        self.epoch = ""
        self.clients = Clients(self.address)
        """Its connections; for whoever follows the feed."""
        self._begin()
        _STORES.add(self)

    @property
    @override
    def is_shared(self) -> bool:
        return True

    @override
    def carry_out(self, request: Request[A]) -> A:
        if isinstance(request, Load):
            return cast("A", self._loaded(request))
        steps = self._steps_of(request)
        if steps is None:
            return self._carried_out(request)
        inner = next(steps)
        while True:
            try:
                inner = steps.send(self._carried_out(inner))
            except StopIteration as stop:
                return cast("A", stop.value)

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        if isinstance(request, Load):
            return cast("A", await self._loaded_async(request))
        steps = self._steps_of(request)
        if steps is None:
            return await self._carried_out_async(request)
        inner = next(steps)
        while True:
            try:
                inner = steps.send(await self._carried_out_async(inner))
            except StopIteration as stop:
                return cast("A", stop.value)

    @override
    def version(self) -> int:
        position = self._carried_out(ReadFeed(None)).position
        return crc32(position.epoch.encode()) * _SEQUENCES_OF_ONE_LIFE + position.sequence

    @override
    def ask_last_read(self, last_read: LastRead) -> None:
        self._last_read = last_read

    @override
    def listen(self, listener: StepListener) -> None:
        self._listeners.append(listener)

    @override
    def close(self) -> None:
        self._is_closed = True
        self._gate.stop()
        self._sweeper.stop()
        if not self._is_forked:
            self.clients.close()

    def stream(self) -> FeedStream:
        """A place in the feed, at its end as it is when it is first asked."""
        self._check()
        head = partial(self._head, NOBODY, is_reading=False)
        return RedisStream(self.address, self.key, head, self._look_again, self.clients.identity, self._followed)

    def _steps_of(self, request: Request[A]) -> Steps[A] | None:
        """The steps of a request that takes more than one; None for any other."""
        if isinstance(request, Apply):
            return None if request.is_dry else cast("Steps[A]", apply(request))
        steps = CHUNKED.get(type(request))
        if steps is not None:
            return steps(request)
        # Without anybody to ask, nothing is known here.
        if self._room == NO_ROOM_LIMIT or self._last_read is nobody_knows:
            return None
        return knowing(request, self._last_read)

    def _loaded(self, request: Load) -> Loaded:
        """The reading that everybody waits for, without a script if that will do."""
        if not self._may_glimpse:
            return self._carried_out(request)
        self._check()
        question = question_of(self._counters_key, request.key)
        told = self._replied(Tries(self._retry_s), None, lambda client: client.ask(question))
        loaded = self._glimpsed(request, told)
        return self._carried_out(request) if loaded is None else loaded

    async def _loaded_async(self, request: Load) -> Loaded:
        if not self._may_glimpse:
            return await self._carried_out_async(request)
        self._check()
        question = question_of(self._counters_key, request.key)
        told = await self._replied_async(Tries(self._retry_s), None, lambda client: client.ask(question))
        loaded = self._glimpsed(request, told)
        return await self._carried_out_async(request) if loaded is None else loaded

    def _glimpsed(self, request: Load, told: Told) -> Loaded | None:
        time_told, found = told
        loaded = glimpsed(request, time_of(time_told) if self._clock is None else self._clock(), found)
        if loaded is not None and loaded.position.epoch != self.epoch:
            self._tell(Decoded(loaded, epoch=loaded.position.epoch))
        return loaded

    def _carried_out(self, request: Request[A]) -> A:
        self._check()
        sent = self._packed(request)
        script, arguments = sent.script, sent.arguments
        reply = self._replied(sent.tries, script, lambda client: client.run(script, self.key, arguments))
        return self._answered(request, sent, reply)

    async def _carried_out_async(self, request: Request[A]) -> A:
        self._check()
        sent = self._packed(request)
        script, arguments = sent.script, sent.arguments
        reply = await self._replied_async(sent.tries, script, lambda client: client.run(script, self.key, arguments))
        return self._answered(request, sent, reply)

    def _replied(self, tries: Tries, script: Script | None, ask: Callable[[BlockingClient], T]) -> T:
        """What the server replies, after as many tries as are worth it."""
        client = self.clients.blocking
        while True:
            self._gate.check()
            try:
                if not self.clients.identity.is_known:
                    self._look_at_server()
                replied = ask(client)
            except DRIVER_ERRORS as error:
                pause_s = self._pause_after(tries, error, script)
                client.forget_idle()
                time.sleep(pause_s)
            else:
                self._gate.note_answer()
                return replied

    async def _replied_async(self, tries: Tries, script: Script | None, ask: Callable[[LoopClient], Awaitable[T]]) -> T:
        client, cancellations = self.clients.of_loop(), Cancellations()
        while True:
            self._gate.check()
            try:
                if not self.clients.identity.is_known:
                    await asyncio.to_thread(self._look_at_server)
                replied = await ask(client)
                cancellations.heed()
            except DRIVER_ERRORS as error:
                pause_s = self._pause_after(tries, error, script)
                await client.forget_idle()
                await asyncio.sleep(pause_s)
            else:
                self._gate.note_answer()
                return replied

    def _check(self) -> None:
        if self._is_closed:
            raise StoreClosed(CLOSED)
        if self._is_forked:
            msg = f"{self.address}: it was opened before this process was forked. Make the Cache after the fork."
            raise StoreForked(msg)

    def _packed(self, request: Request[Any]) -> _Sent:
        last_reads = _NOTHING_READ
        if isinstance(request, Knowing):
            last_reads, request = request.last_reads, request.request
        is_mutating = wire.mutates(request)
        slot = self._slots.take() if is_mutating else NOBODY
        head = self._head(slot, is_reading=not is_mutating, last_reads=last_reads)
        payload = wire.encode(request, head)
        return _Sent(script_of(payload.script), (payload.packed, *payload.blobs), slot, Tries(self._retry_s))

    def _head(
        self, slot: Slot, *, is_reading: bool, last_reads: Mapping[Key, float] = _NOTHING_READ
    ) -> tuple[object, ...]:
        """What every script is told; in this order."""
        return (
            None if self._clock is None else self._clock(),
            slot.name,
            slot.serial,
            # The name of the store's life, should this step begin it.
            secrets.token_hex(8),
            self._room.max_entries,
            self._room.max_bytes,
            is_reading,
            last_reads,
            *self._place,
        )

    def _answered(self, request: Request[A], sent: _Sent, reply: Reply) -> A:
        if isinstance(request, Knowing):
            request = request.request
        decoded = wire.decode(request, reply)
        if sent.slot is not NOBODY:
            self._slots.give_back(sent.slot)
        self._tell(decoded)
        return decoded.answer

    def _tell(self, decoded: Decoded[Any]) -> None:
        epoch, self.epoch = self.epoch, decoded.epoch or self.epoch
        # Where somebody else's step began the new life, this one's is the first that hears of it.
        if decoded.is_new_life or (epoch and epoch != self.epoch):
            self._tell_all(())
        if decoded.records:
            self._tell_all(decoded.records)

    def _tell_all(self, records: Sequence[FeedRecord]) -> None:
        for listener in self._listeners:
            listener(records)

    def _pause_after(self, tries: Tries, error: Exception, script: Script | None) -> float:
        """How long to wait before the next try; raises the error in our words when there is none."""
        if self._is_closed:
            raise StoreClosed(CLOSED) from error
        if is_unanswered(error) and self.address.kind == "cluster":
            # Elsewhere each new connection sees for itself who answers.
            self.clients.identity.forget()
        pause_s = tries.pause_after(error)
        # Nobody waits for a silence twice: not who tries for all, nor who reads, and is better served by the function.
        is_silent = script is None and isinstance(error, exceptions.TimeoutError)
        if pause_s is None or (pause_s and (is_silent or not self._gate.is_open)):
            problem = described(self.address, error, script)
            if is_out_of_order(error):
                self._gate.note_failure(problem)
            raise problem from error
        return pause_s

    def _look_at_server(self) -> None:
        """See who answers, and that it can be used; what another has written before is not trusted."""
        identity = self.clients.identity
        with self._look.turn():
            if identity.is_known:
                return
            # What stands open may lead to the one that was here before.
            self.clients.blocking.forget_idle()
            run_id = run_id_of(self.clients.blocking.info(self.key), self.address)
            needs_sweep = self._greeted(run_id)
            identity.run_id = run_id
            self._gate.note_answer()
        if needs_sweep:
            self._sweep()

    def _greeted(self, run_id: str) -> bool:
        request = Greet(run_id, OTHER_RUN)
        sent = self._packed(request)
        reply = self.clients.blocking.run(sent.script, self.key, sent.arguments, is_look=True)
        needs_sweep = self._answered(request, sent, reply)
        if not isinstance(needs_sweep, bool):
            msg = (
                f"{self.address}: what is stored there under this prefix is in {needs_sweep} shards. Name that number "
                "in the URL, or change it: everfresh admin reshard."
            )
            raise StoreUnavailable(msg)
        return needs_sweep

    def _sweep(self) -> None:
        epoch = self.epoch
        per_s = SWEPT_PER_S / (self._place[0] if self._place else 1)
        self._sweeper.sweep(lambda: sweep(epoch, OTHER_RUN, per_s))

    def _swept(self, steps: Steps[int]) -> int:
        request = next(steps)
        while True:
            try:
                request = steps.send(self._carried_out(request))
            except StopIteration as stop:
                n_dirty: int = stop.value
                return n_dirty

    def _look_again(self) -> None:
        """For who follows: see that nobody has to sweep, and that the server is known."""
        self._check()
        if not self.clients.identity.is_known:
            self._look_at_server()
        elif self._greeted(self.clients.identity.run_id):
            self._sweep()

    def _begin(self) -> None:
        try:
            self._look_at_server()
        except DRIVER_ERRORS as error:
            # A process may start while Redis is down: its readers call their functions until it is back.
            self._gate.warn(described(self.address, error))


# The child of a fork must not touch the connections. To be told of it is cheaper than to ask at each step.
_STORES: weakref.WeakSet[RedisStore] = weakref.WeakSet()


def _bar_forked() -> None:
    for store in tuple(_STORES):
        store._is_forked = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bar_forked)
