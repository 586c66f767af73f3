"""The queue of a consumer on an AMQP broker: how it is declared, bound, and known again.

A queue has no positions, so what was lost has to be told by other signs. Three are kept, together as the source's
offset, and compared at each opening:

- the life of the queue. When we declare it, we bind it also to an exchange `QUEUE.life.RANDOM`, which the broker
  deletes by itself with its last binding, so with the queue. Where that exchange is no longer, the queue was deleted
  in between, whoever declared it again.
- the lives of the exchanges, as who deletes one takes all its bindings with it, and the broker tells no consumer. For
  each we bind such a sign to it: the broker deletes that with the exchange. Exchanges named `amq.` cannot be deleted.
- what the queue was bound to. Of a pattern that is new, earlier events went elsewhere.

None of it is told to the store before the gap is answered, so a process that dies in between leaves it to the next.

Whatever the broker takes out of the queue without us, as it was delivered too often, or a policy let it expire, goes to
two queues. One is for people; the other, `QUEUE.lost`, is ours, and keeps one message: that something was lost. It is
acknowledged when the gap is answered.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused

from everfresh.model.event import MAX_TOPIC_BYTES
from everfresh.sources.canary import PREFIX

ANYTHING = "#"
# A server may take a message away that came back too often, and this one has to stay.
_FOR_EVER = 1_000_000
_UNDELETABLE = "amq."


class Mark(msgspec.Struct, frozen=True):
    """What is known of a queue: its life, the patterns of each exchange, and the lives of the exchanges."""

    life: str
    bound: Mapping[str, frozenset[str]]
    signs: Mapping[str, str] = {}

    @property
    def text(self) -> str:
        """As it is kept with the store."""
        bound = {exchange: sorted(patterns) for exchange, patterns in sorted(self.bound.items())}
        signs = dict(sorted(self.signs.items()))
        return msgspec.json.encode({"life": self.life, "bound": bound, "signs": signs}).decode()

    def missing(self, exchanges: Iterable[str], patterns: Iterable[str]) -> tuple[str, ...]:
        """Those of the patterns that some of the exchanges did not send to the queue."""
        sent = [self.bound.get(exchange, frozenset()) for exchange in exchanges]
        return tuple(one for one in patterns if not all(one in each or ANYTHING in each for each in sent))

    def with_bound(self, exchanges: Iterable[str], patterns: Iterable[str]) -> Mark:
        """The same, with more bindings."""
        more = frozenset(patterns)
        bound = {exchange: self.bound.get(exchange, frozenset()) | more for exchange in exchanges}
        return msgspec.structs.replace(self, bound={**self.bound, **bound})


def mark_of(text: str | None) -> Mark | None:
    """The mark that a text is; None when there is none, or it is another's."""
    try:
        return None if text is None else msgspec.json.decode(text, type=Mark)
    except msgspec.DecodeError:
        return None


class Terms(msgspec.Struct, frozen=True):
    """The queue that is wanted: its name, where its dead letters go, and after how many deliveries a message is one."""

    queue: str
    dead_letter: str
    delivery_limit: int

    @property
    def lost(self) -> str:
        """The queue that says that something was lost."""
        return f"{self.queue}.lost"

    @property
    def dead_letter_exchange(self) -> str:
        """It gives dead letters to both queues."""
        return f"{self.queue}.dlx"

    @property
    def arguments(self) -> dict[str, Any]:
        """As the broker is told. A dead letter is kept until the other queue has taken it."""
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": self.delivery_limit,
            "x-dead-letter-exchange": self.dead_letter_exchange,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


async def declare(channel: AbstractChannel, terms: Terms) -> None:
    """Have all queues; the first time this makes them."""
    one: dict[str, Any] = {"x-max-length": 1, "x-overflow": "drop-head", "x-delivery-limit": _FOR_EVER}
    await channel.declare_exchange(terms.dead_letter_exchange, aio_pika.ExchangeType.FANOUT, durable=True)
    more: dict[str, Any]
    for name, more in ((terms.dead_letter, {}), (terms.lost, one)):
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **more})
        await bind(channel, name, (terms.dead_letter_exchange,), ("",))
    await channel.declare_queue(terms.queue, durable=True, arguments=terms.arguments)


async def bind(channel: AbstractChannel, queue: str, exchanges: Sequence[str], patterns: Iterable[str]) -> None:
    """Have these events come to the queue too."""
    underlay = await channel.get_underlay_channel()
    pairs = [(exchange, pattern) for pattern in patterns for exchange in exchanges]
    for number, (exchange, pattern) in enumerate(pairs):
        if 0 < number < len(pairs) - 1:
            # A broker far away would take too long to answer each. It does one after the other, up to the last.
            await underlay.queue_bind(queue, exchange, routing_key=pattern, nowait=True)
        else:
            await underlay.queue_bind(queue, exchange, routing_key=pattern)


async def begin_life(channel: AbstractChannel, queue: str) -> str:
    """A sign that goes with the queue; the answer is its name."""
    life, name = await _new_sign(channel, queue)
    await bind(channel, queue, (name,), ("",))
    return life


async def begin_sign(connection: AbstractConnection, queue: str, exchange: str) -> str | None:
    """A sign that goes with the exchange; the answer is its name, None where the broker refuses the binding."""
    # The broker refuses by closing the channel.
    channel = await connection.channel()
    sign, name = await _new_sign(channel, queue)
    underlay = await channel.get_underlay_channel()
    try:
        await underlay.exchange_bind(exchange, name)
    except ChannelAccessRefused:
        other = await connection.channel()
        await other.exchange_delete(name)
        await other.close()
        return None
    await channel.close()
    return sign


async def exchange_gone(connection: AbstractConnection, queue: str, signs: Mapping[str, str]) -> str | None:
    """An exchange whose sign is no longer there, None when all are."""
    for exchange, sign in signs.items():
        if not await is_alive(connection, queue, sign):
            return exchange
    return None


def may_go(exchange: str) -> bool:
    """Whether somebody may delete the exchange."""
    return not exchange.startswith(_UNDELETABLE)


async def is_alive(connection: AbstractConnection, queue: str, life: str) -> bool:
    """Whether what this sign goes with is what it was."""
    return await is_there(connection, _life_exchange(queue, life))


async def is_there(connection: AbstractConnection, exchange: str) -> bool:
    """Whether there is such an exchange."""
    # The broker answers "there is none" by closing the channel.
    channel = await connection.channel()
    try:
        await channel.declare_exchange(exchange, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def n_waiting(channel: AbstractChannel, queue: str) -> int:
    """How many messages wait in the queue, but for those that are delivered and not acknowledged.

    Raises:
        ChannelNotFoundEntity: there is no such queue.
    """
    declared = await channel.declare_queue(queue, passive=True)
    return int(declared.declaration_result.message_count or 0)


def patterns_of(topics: Iterable[str]) -> tuple[str, ...]:
    """What to bind for these topics, each once; for one that no binding can be, everything."""
    return tuple(dict.fromkeys(one if len(one.encode()) <= MAX_TOPIC_BYTES else ANYTHING for one in topics))


def that_matter(patterns: Iterable[str]) -> tuple[str, ...]:
    """Those of the patterns that something may depend on; canaries are bound like the rest, but nothing does."""
    return tuple(one for one in patterns if not one.startswith(PREFIX))


async def _new_sign(channel: AbstractChannel, queue: str) -> tuple[str, str]:
    """Something that goes with its only binding, as soon as it has one; what it is known by, and its name."""
    sign = secrets.token_hex(8)
    name = _life_exchange(queue, sign)
    await channel.declare_exchange(name, aio_pika.ExchangeType.FANOUT, durable=True, auto_delete=True, internal=True)
    return sign, name


def _life_exchange(queue: str, life: str) -> str:
    return f"{queue}.life.{life}"
