"""Rounds: the parts of a request over shards are carried out side by side.

    parts ──next step of each──▶ one packet to each node ──replies──▶ next steps ... ──▶ what came of each

A step that did not come back well goes on by itself, as one of a single store does: under its own slot and serial, so
it is done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from everfresh.stores.redis.cancelling import Cancellations
from everfresh.stores.redis.exchange import Ask, exchange, exchange_async
from everfresh.stores.redis.failures import DRIVER_ERRORS
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
    """What came of the parts."""
    turns = [_Turn(shards[part.shard], part) for part in parts]
    while waiting := [turn for turn in turns if not turn.is_over]:
        for turn in waiting:
            turn.sent, turn.ask = turn.shard.sent(turn.request), None
            try:
                turn.begin_step(turn.shard.place())
            except DRIVER_ERRORS as error:
                turn.failed = error
        exchange([turn.ask for turn in waiting if turn.ask is not None])
        for turn in _failed(waiting):
            turn.end_step(turn.shard.go_on(turn.sent, turn.failed))
    return [turn.done() for turn in turns]


async def side_by_side_async(shards: Sequence[Shard], parts: Sequence[Part]) -> list[Done]:
    """The same in an event loop."""
    turns = [_Turn(shards[part.shard], part) for part in parts]
    cancellations = Cancellations()
    while waiting := [turn for turn in turns if not turn.is_over]:
        for turn in waiting:
            turn.sent, turn.ask = turn.shard.sent(turn.request), None
            try:
                turn.begin_step(await turn.shard.place_async())
            except DRIVER_ERRORS as error:
                turn.failed = error
        await exchange_async([turn.ask for turn in waiting if turn.ask is not None])
        cancellations.heed()
        if failed := _failed(waiting):
            replies = await asyncio.gather(*(turn.shard.go_on_async(turn.sent, turn.failed) for turn in failed))
            for turn, reply in zip(failed, replies, strict=True):
                turn.end_step(reply)
    return [turn.done() for turn in turns]


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
