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
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast
from zlib import crc32

from redis import exceptions

from everfresh.model.clock import Clock
from everfresh.model.entry import FeedRecord, Key
from everfresh.model.errors import StoreClosed, StoreForked, StoreUnavailable
from everfresh.model.marks import override
from everfresh.protocol.applying import Apply
from everfresh.protocol.bringing import Brought
from everfresh.protocol.requests import FeedBatch, Load, Loaded, ReadFeed, Request, Steps
from everfresh.stores.redis import wire
from everfresh.stores.redis.addresses import Address, address_of
from everfresh.stores.redis.applying import apply
from everfresh.stores.redis.cancelling import Cancellations
from everfresh.stores.redis.chunks import CHUNKED, Greet, sweep
from everfresh.stores.redis.circuit import Gate
from everfresh.stores.redis.clients import CLOSED, Reply
from everfresh.stores.redis.coldest import knowing
from everfresh.stores.redis.doubts import Doubts
from everfresh.stores.redis.failures import DRIVER_ERRORS, Tries, described, is_out_of_order, is_unanswered
from everfresh.stores.redis.gates import GateOfShard
from everfresh.stores.redis.glimpse import Told, glimpsed, question_of, time_of
from everfresh.stores.redis.routing import AnyBlocking, AnyLoop, StoreClients, clients_of
from everfresh.stores.redis.sending import Sender, Sent
from everfresh.stores.redis.servers import OTHER_RUN, SWEPT_PER_S, Look, Sweeper, run_id_of
from everfresh.stores.redis.slots import NOBODY
from everfresh.stores.redis.stream import Place, RedisStream
from everfresh.stores.redis.wire_replies import Decoded
from everfresh.stores.store import FeedStream, StepListener, Store
from everfresh.stores.tables import NO_ROOM_LIMIT, LastRead, Room, nobody_knows

A = TypeVar("A")
T = TypeVar("T")
AnyGate = Gate | GateOfShard

_log = logging.getLogger("everfresh")
# No sequence comes near; so the versions of two lives do not meet.
_SEQUENCES_OF_ONE_LIFE = 2**64


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
        clients: StoreClients | None = None,
    ) -> None:
        self.address = address_of(url) if isinstance(url, str) else url
        """Where it is; for whoever follows the feed."""
        self._clock = clock
        self._room = room
        self._last_read: LastRead = nobody_knows
        # With several shards: how many, and which one this is.
        self._place = () if place is None else place
        self.key = f"{self.address.prefix}:{{s{0 if place is None else place[1]}}}:m"
        """The key of its counters, which routes each step; for tests."""
        self._counters_key = self.key.encode()
        # Seen by tests.
        self.sender = Sender(clock, room, retry_s, self._place)
        self._doubts = Doubts(self._ask_what_became_of, self._do_at_once)
        self._listeners: list[StepListener] = []
        # Of its one follower.
        self._followed = Place()
        self._is_closed = False
        self._is_forked = False
        self._look = Look()
        self._gate = self._make_gate()
        self._sweeper = Sweeper(self._swept)
        # As of the last step that said it; empty before the first.
        self.epoch = ""
        self.clients: StoreClients = clients or clients_of(self.address, self.key)
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
        head = partial(self.sender.head, NOBODY, is_reading=False)
        return RedisStream(self.address, self.key, head, self._look_again, self.clients, self._followed)

    def _make_gate(self) -> AnyGate:
        return Gate(str(self.address), self._look_again)

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
        self._check()
        question = question_of(self._counters_key, request.key)
        told = self._replied(self.sender.tries(), None, lambda client: client.ask(question))
        loaded = self._glimpsed(request, told)
        return self._carried_out(request) if loaded is None else loaded

    async def _loaded_async(self, request: Load) -> Loaded:
        self._check()
        question = question_of(self._counters_key, request.key)
        told = await self._replied_async(self.sender.tries(), None, lambda client: client.ask(question))
        loaded = self._glimpsed(request, told)
        return await self._carried_out_async(request) if loaded is None else loaded

    async def read_along(self, request: ReadFeed, keys: Sequence[Key]) -> Brought:
        """The feed and the entries, in one packet."""
        self._check()
        sent = self.sender.sent(request)
        questions = [question_of(self._counters_key, key) for key in keys]
        reply, told = await self._replied_async(
            sent.tries, sent, lambda client: client.run_with(sent.script, self.key, sent.arguments, questions)
        )
        batch: FeedBatch = self._answered(sent, reply)
        entries = {one.entry.key: one.entry for one in map(self._glimpsed, map(Load, keys), told) if one and one.entry}
        return Brought(batch.records, batch.position, batch.is_reset, entries)

    def _glimpsed(self, request: Load, told: Told) -> Loaded | None:
        time_told, found = told
        loaded = glimpsed(request, time_of(time_told) if self._clock is None else self._clock(), found)
        if loaded is not None and loaded.position.epoch != self.epoch:
            self._tell(Decoded(loaded, epoch=loaded.position.epoch))
        return loaded

    def _carried_out(self, request: Request[A]) -> A:
        self._check()
        sent = self.sender.sent(request)
        reply = self._replied(sent.tries, sent, lambda client: client.run(sent.script, self.key, sent.arguments))
        return cast("A", self._answered(sent, reply))

    async def _carried_out_async(self, request: Request[A]) -> A:
        self._check()
        sent = self.sender.sent(request)
        reply = await self._replied_async(sent.tries, sent, partial(sent.run_by, self.key))
        return cast("A", self._answered(sent, reply))

    def _replied(self, tries: Tries, sent: Sent | None, ask: Callable[[AnyBlocking], T]) -> T:
        """What the server replies, after as many tries as are worth it."""
        client = self.clients.blocking
        while True:
            self._gate.check()
            try:
                if not self.clients.identity.is_known:
                    self._look_at_server()
                replied = ask(client)
            except DRIVER_ERRORS as error:
                pause_s = self._pause_after(tries, error, sent)
                client.forget_idle()
                time.sleep(pause_s)
            else:
                self._gate.note_answer()
                return replied

    async def _replied_async(self, tries: Tries, sent: Sent | None, ask: Callable[[AnyLoop], Awaitable[T]]) -> T:
        client, cancellations = self.clients.of_loop(), Cancellations()
        while True:
            self._gate.check()
            try:
                if not self.clients.identity.is_known:
                    await asyncio.to_thread(self._look_at_server)
                replied = await ask(client)
                cancellations.heed()
            except DRIVER_ERRORS as error:
                pause_s = self._pause_after(tries, error, sent)
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

    def _answered(self, sent: Sent, reply: Reply) -> Any:  # noqa: ANN401 - whatever the request is answered with
        decoded: Decoded[Any] = wire.decode(sent.request, reply)
        self.sender.note_answer(sent, decoded.at)
        self._tell(decoded)
        return decoded.answer

    def _ask_what_became_of(self, sent: Sent) -> object:
        """What the step was answered; refused if it was not done, and never will be."""
        self.sender.ask_what_became_of(sent)
        return self._answered(sent, self.clients.blocking.run(sent.script, self.key, sent.arguments))

    def _do_at_once(self, request: Request[None]) -> None:
        """Carry out a step by one try, whatever others have met with."""
        sent = self.sender.sent(request)
        self._answered_directly(sent)

    def _answered_directly(self, sent: Sent, *, is_look: bool = False) -> Any:  # noqa: ANN401 - as above
        """What it is answered with, by one try, and another if it has something to repair."""
        run = partial(self.clients.blocking.run, sent.script, self.key, is_look=is_look)
        try:
            reply = run(sent.arguments)
        except exceptions.ResponseError as error:
            if not self.sender.note_damage(sent, error):
                raise
            reply = run(sent.arguments)
        return self._answered(sent, reply)

    def _tell(self, decoded: Decoded[Any]) -> None:
        epoch, self.epoch = self.epoch, decoded.epoch or self.epoch
        if decoded.loss:
            _log.warning("store.lost %s", {"store": str(self.address), "reason": decoded.loss})
            self._sweep(decoded.loss)
        # Where somebody else's step began the new life, this one's is the first that hears of it.
        if decoded.is_new_life or (epoch and epoch != self.epoch):
            self._tell_all(())
        if decoded.records:
            self._tell_all(decoded.records)

    def _tell_all(self, records: Sequence[FeedRecord]) -> None:
        for listener in self._listeners:
            listener(records)

    def _pause_after(self, tries: Tries, error: Exception, sent: Sent | None) -> float:
        """How long to wait before the next try; raises the error in our words when there is none."""
        if self._is_closed:
            raise StoreClosed(CLOSED) from error
        if is_unanswered(error) and self.address.kind == "cluster":
            # Elsewhere each new connection sees for itself who answers.
            self.clients.identity.forget()
        if sent is not None:
            if self.sender.note_damage(sent, error):
                return 0.0
            self.sender.note_refusal(sent, error)
        pause_s = tries.pause_after(error)
        # Nobody waits for a silence twice: not who tries for all, nor who reads, and is better served by the function.
        is_silent = sent is None and isinstance(error, exceptions.TimeoutError)
        if pause_s is None or (pause_s and (is_silent or not self._gate.is_open)):
            problem = described(self.address, error, None if sent is None else sent.script)
            if is_unanswered(error):
                self._doubts.add(sent)
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
            self._doubts.settle()
            self._gate.note_answer()
        if needs_sweep:
            self._sweep()

    def _greeted(self, run_id: str) -> bool:
        sent = self.sender.sent(Greet(run_id, OTHER_RUN))
        needs_sweep = self._answered_directly(sent, is_look=True)
        if not isinstance(needs_sweep, bool):
            msg = (
                f"{self.address}: what is stored there under this prefix is in {needs_sweep} shards. Name that number "
                "in the URL, or change it: everfresh admin reshard."
            )
            raise StoreUnavailable(msg)
        return needs_sweep

    def _sweep(self, reason: str = OTHER_RUN) -> None:
        epoch = self.epoch
        per_s = SWEPT_PER_S / (self._place[0] if self._place else 1)
        self._sweeper.sweep(lambda: sweep(epoch, reason, per_s), reason)

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
            return
        needs_sweep = self._greeted(self.clients.identity.run_id)
        self._doubts.settle()
        if needs_sweep:
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
