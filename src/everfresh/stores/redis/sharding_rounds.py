"""Rounds: the parts of a request over shards are carried out side by side.

    parts ──next step of each──▶ one packet to each node ──replies──▶ next steps ... ──▶ what came of each

A step that did not come back well goes on by itself, as one of a single store does: under its own slot and serial, so
it is done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from everfresh.model.entry import Lease
from everfresh.model.errors import StoreError
from everfresh.protocol.queueing import leases_in
from everfresh.protocol.requests import GiveUp
from everfresh.stores.redis.cancelling import Cancellations
from everfresh.stores.redis.clients import Clients
from everfresh.stores.redis.exchange import Ask, exchange, exchange_async
from everfresh.stores.redis.failures import DRIVER_ERRORS, is_out_of_order
from everfresh.stores.redis.identity import AnotherRun
from everfresh.stores.redis.nodes import Place
from everfresh.stores.redis.sending import Sent
from everfresh.stores.redis.shard import Shard, Told
from everfresh.stores.redis.sharding import Done, Part


class _Turn:
    """A part on its way."""

    __slots__ = ("answer", "ask", "failed", "is_over", "request", "sent", "shard", "steps", "told")

    def __init__(self, shard: Shard, part: Part) -> None:
        self.shard = shard
        self.told = Told()
        self.steps = shard.steps_of(part.request)
        self.request = part.request if self.steps is None else next(self.steps)
        self.is_over = False
        self.answer: Any = None
        self.sent: Sent
        self.ask: Ask | None = None
        self.failed: Exception

    def begin_step(self, place: Place) -> None:
        sent, shard = self.sent, self.shard
        self.ask = Ask(shard.standing, shard.key, sent.script, sent.arguments, place)

    def end_step(self, reply: Any) -> None:  # noqa: ANN401 - the driver's
        """Go on to the next step, if there is one."""
        answer = self.shard.take(self.sent, reply, self.told)
        if self.steps is None:
            self.answer, self.is_over = answer, True
            return
        try:
            self.request = self.steps.send(answer)
        except StopIteration as stop:
            self.answer, self.is_over = stop.value, True

    def done(self) -> Done:
        return Done(self.answer, self.told.posted, self.told.paces, self.shard.epoch)


def side_by_side(shards: Sequence[Shard], parts: Sequence[Part]) -> list[Done]:
    """What came of the parts. Where one fails, what the others have taken is given back."""
    turns = [_Turn(shards[part.shard], part) for part in parts]
    while waiting := [turn for turn in turns if not turn.is_over]:
        unreached = _Unreached()
        for turn in waiting:
            turn.sent, turn.ask = turn.shard.sent(turn.request), None
            if unreached.has_failed(turn):
                continue
            with unreached.noting(turn):
                turn.begin_step(turn.shard.place())
        exchange([turn.ask for turn in waiting if turn.ask is not None])
        problem: Exception | None = None
        for turn in _failed(waiting):
            if problem is not None:
                turn.shard.give_up(turn.sent, turn.failed)
                continue
            try:
                turn.end_step(turn.shard.go_on(turn.sent, turn.failed))
            except Exception as error:  # noqa: BLE001 - raised once the others are looked after
                problem = error
        if problem is not None:
            for shard, lease in _taken(turns):
                with suppress(StoreError):
                    shard.do(GiveUp(lease))
            raise problem
    return [turn.done() for turn in turns]


async def side_by_side_async(shards: Sequence[Shard], parts: Sequence[Part]) -> list[Done]:
    """The same in an event loop."""
    turns = [_Turn(shards[part.shard], part) for part in parts]
    cancellations = Cancellations()
    while waiting := [turn for turn in turns if not turn.is_over]:
        unreached = _Unreached()
        for turn in waiting:
            turn.sent, turn.ask = turn.shard.sent(turn.request), None
            if unreached.has_failed(turn):
                continue
            with unreached.noting(turn):
                turn.begin_step(await turn.shard.place_async())
        await exchange_async([turn.ask for turn in waiting if turn.ask is not None])
        cancellations.heed()
        failed = _failed(waiting)
        # Each of them, though one fails: no step goes on when nobody waits for it any more.
        going_on = (turn.shard.go_on_async(turn.sent, turn.failed) for turn in failed)
        replies = await asyncio.gather(*going_on, return_exceptions=True)
        for turn, reply in zip(failed, replies, strict=True):
            if not isinstance(reply, BaseException):
                turn.end_step(reply)
        if problems := [reply for reply in replies if isinstance(reply, BaseException)]:
            for shard, lease in _taken(turns):
                with suppress(StoreError):
                    await shard.do_async(GiveUp(lease))
            raise problems[0]
    return [turn.done() for turn in turns]


class _Unreached:
    """The nodes that did not answer in this round: what one shard has met with there the others need not."""

    def __init__(self) -> None:
        self._errors: dict[Clients | None, Exception] = {}

    def has_failed(self, turn: _Turn) -> bool:
        """Whether its node is one of them."""
        error = self._errors.get(turn.shard.node)
        if error is None:
            return False
        turn.failed = error
        return True

    @contextmanager
    def noting(self, turn: _Turn) -> Generator[None]:
        """Around the beginning of a step; where its node is not reached, it has failed."""
        node = turn.shard.node
        try:
            yield
        except DRIVER_ERRORS as error:
            turn.failed = error
            if is_out_of_order(error) and not isinstance(error, AnotherRun):
                self._errors[node] = error


def _taken(turns: Sequence[_Turn]) -> list[tuple[Shard, Lease]]:
    """The leases that were given to who hears of a failure, and so not of them."""
    return [(turn.shard, lease) for turn in turns if turn.is_over for lease in leases_in(turn.answer)]


def _failed(waiting: Sequence[_Turn]) -> list[_Turn]:
    """Those whose step did not come back well; all others have gone on."""
    failed: list[_Turn] = []
    for turn in waiting:
        if turn.ask is not None:
            found = turn.ask.found
            if not isinstance(found, Exception):
                turn.end_step(found)
                continue
            turn.failed = found
        failed.append(turn)
    return failed
