"""Shard: one of several stores on Redis that are one, and what its steps have to tell the others."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from redis import exceptions

from everfresh.model.clock import Clock
from everfresh.model.marks import override
from everfresh.protocol.requests import Request, Steps
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.applying import ApplyToShard, begin
from everfresh.stores.redis.clients import Clients, Reply
from everfresh.stores.redis.failures import DRIVER_ERRORS, described, is_out_of_order, is_unanswered
from everfresh.stores.redis.gates import Gates
from everfresh.stores.redis.nodes import Nodes, Place, Standing
from everfresh.stores.redis.routing import Routed
from everfresh.stores.redis.sending import Sent
from everfresh.stores.redis.sharding import Done
from everfresh.stores.redis.slots import NOBODY
from everfresh.stores.redis.store import AnyGate, RedisStore
from everfresh.stores.redis.stream import Place as FollowerPlace
from everfresh.stores.redis.wire_replies import Decoded, Message, Pace
from everfresh.stores.tables import Room

A = TypeVar("A")


class Told:
    """What the steps of one part have to tell."""

    __slots__ = ("paces", "posted")

    def __init__(self) -> None:
        self.posted: list[Message] = []
        self.paces: list[Pace] = []


# A step may be carried out in any thread or task.
_told: ContextVar[Told | None] = ContextVar("told", default=None)


class Shard(RedisStore):
    """One of them; all share the connections to their nodes."""

    def __init__(
        self, address: Address, nodes: Nodes, gates: Gates, place: tuple[int, int], *, clock: Clock | None, room: Room
    ) -> None:
        self._gates = gates
        routed = Routed(nodes, f"{address.prefix}:{{s{place[1]}}}:m", is_shared=True)
        self.standing: Standing = routed.identity
        """Where it was looked at."""
        super().__init__(address, clock=clock, room=room, place=place, clients=routed)

    @property
    def node(self) -> Clients | None:
        """Where it is now, as far as is known."""
        return self.standing.nodes.known(self.standing.slot)

    def do(self, request: Request[Any]) -> Done:
        """Carry out a part."""
        told = Told()
        token = _told.set(told)
        try:
            return Done(self.carry_out(request), told.posted, told.paces, self.epoch)
        finally:
            _told.reset(token)

    async def do_async(self, request: Request[Any]) -> Done:
        """The same in an event loop."""
        told = Told()
        token = _told.set(told)
        try:
            return Done(await self.carry_out_async(request), told.posted, told.paces, self.epoch)
        finally:
            _told.reset(token)

    @property
    def is_forked(self) -> bool:
        """Whether its connections are another process's."""
        return self._is_forked

    @property
    def followed(self) -> FollowerPlace:
        """How far its one follower has come."""
        return self._followed

    def look_again(self) -> None:
        """For who follows: see that nobody has to sweep, and that the server is known. Raises the driver's errors."""
        self._look_again()

    def unrepeated_head(self) -> tuple[object, ...]:
        """What a script is told that may be carried out twice."""
        return self.sender.head(NOBODY, is_reading=False, is_repair=self._followed.is_damaged)

    def steps_of(self, request: Request[Any]) -> Steps[Any] | None:
        """The steps of a part that takes more than one; None for any other."""
        return self._steps_of(request)

    @override
    def _steps_of(self, request: Request[A]) -> Steps[A] | None:
        if isinstance(request, ApplyToShard):
            return cast("Steps[A]", begin(request.apply, request.once))
        return super()._steps_of(request)

    def sent(self, request: Request[Any]) -> Sent:
        """A step as it is sent.

        Raises:
            StoreUnavailable: the server did not answer just now.
        """
        self._check()
        self._gate.check()
        return self.sender.sent(request)

    def place(self) -> Place:
        """Where a step goes. Raises the driver's errors; looking for it takes a while, once in a while."""
        if not self.standing.is_known:
            self._look_at_server()
        return self.standing.place()

    async def place_async(self) -> Place:
        """The same in an event loop."""
        if not self.standing.is_known:
            await asyncio.to_thread(self._look_at_server)
        return self.standing.place()

    def give_up(self, sent: Sent, error: Exception) -> None:
        """Try a step no more whose first try failed; what became of it is found out later."""
        if is_unanswered(error):
            self._doubts.add(sent)

    def go_on(self, sent: Sent, error: Exception) -> Reply:
        """The reply to a step whose first try failed."""
        # A server that answers with an error is there; and this may be the answer to another step of the packet.
        if not isinstance(error, exceptions.ResponseError):
            pause_s = self._pause_after(sent.tries, error, sent)
            self.clients.blocking.forget_idle()
            time.sleep(pause_s)
        return self._replied(sent.tries, sent, lambda client: client.run(sent.script, self.key, sent.arguments))

    async def go_on_async(self, sent: Sent, error: Exception) -> Reply:
        """The same in an event loop."""
        if not isinstance(error, exceptions.ResponseError):
            pause_s = self._pause_after(sent.tries, error, sent)
            await self.clients.of_loop().forget_idle()
            await asyncio.sleep(pause_s)
        return await self._replied_async(
            sent.tries, sent, lambda client: client.run(sent.script, self.key, sent.arguments)
        )

    def take(self, sent: Sent, reply: Reply, told: Told) -> Any:  # noqa: ANN401 - whatever the request is answered with
        """The answer to a step, from its reply."""
        self._gate.note_answer()
        token = _told.set(told)
        try:
            return self._answered(sent, reply)
        finally:
            _told.reset(token)

    @override
    def _make_gate(self) -> AnyGate:
        return self._gates.gate_of(self.standing, self._look_again)

    @override
    def _begin(self) -> None:
        # Another one on the same node may have found out that it does not answer.
        if not self._gate.is_open:
            return
        try:
            self._look_at_server()
        except DRIVER_ERRORS as error:
            problem = described(self.address, error)
            if is_out_of_order(error):
                self._gate.note_failure(problem)
            else:
                self._gate.warn(problem)

    @override
    def _tell(self, decoded: Decoded[Any]) -> None:
        told = _told.get()
        # What a sweep in the background has to tell stays in the outbox, and is carried from there.
        if told is not None:
            told.posted += decoded.posted
            told.paces += decoded.paces
        super()._tell(decoded)
