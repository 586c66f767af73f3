"""A connection to an AMQP broker for the length of a block, and what its refusals mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AuthenticationError, ChannelPreconditionFailed, ProbableAuthenticationError
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed, InvalidFrameError

from everfresh.model.errors import InvalidOption
from everfresh.sources.addresses import told
from everfresh.sources.amqp_address import Address
from everfresh.sources.amqp_stream import AmqpStream, answered
from everfresh.sources.amqp_wire import Deliveries, Farewell
from everfresh.sources.connecting import ended
from everfresh.sources.source import SourceUnavailable, Start

_CLOSES_WITHIN_S = 3.0
# The broker's codes for "you may not": no such virtual host, or no right to it.
_NOT_ALLOWED = frozenset({403, 530})
_REFUSALS = (AuthenticationError, ProbableAuthenticationError, ChannelAccessRefused, ConnectionNotAllowed)


class Unfit(Exception):
    """What the source needs is not there."""


@asynccontextmanager
async def connected(address: Address, start: Start, deliveries: Deliveries) -> AsyncGenerator[AbstractConnection]:
    """A connection that ends with the block, and gives what it brings to `deliveries`.

    Raises:
        SourceUnavailable: the broker does not answer, or lets nobody in by that name.
    """
    with explained(address.text):
        try:
            connection = await address.connect(f"everfresh {start.consumer}", deliveries)
        except InvalidFrameError as error:
            # The driver waits for one answer, and cannot read another.
            if deliveries.farewell is None:
                raise
            raise _said(address.text, deliveries.farewell) from error
    try:
        yield connection
    finally:
        # A broker that has gone says no good-bye.
        with suppress(Exception), answered(address.text):
            async with asyncio.timeout(_CLOSES_WITHIN_S):
                await connection.close()


@asynccontextmanager
async def watched(stream: AmqpStream) -> AsyncGenerator[None]:
    """Have the stream look after its queues during the block."""
    # No task group: it would wrap what the block raises, which the caller tells by its type.
    watching = asyncio.create_task(stream.watch())
    try:
        yield
    finally:
        await ended(watching)


@contextmanager
def explained(broker: str) -> Generator[None]:
    """Translate what the driver raises while a connection is opened.

    Raises:
        SourceUnavailable: trying again may help. A refusal too: a password that is changed at the broker before it is
            changed here must end nobody.
        InvalidOption: a queue is another than was asked for, which nothing mends by itself.
    """
    try:
        with answered(broker):
            yield
    except Unfit as unfit:
        raise SourceUnavailable(f"{broker}: {unfit}") from unfit
    except SourceUnavailable as error:
        match error.__cause__:
            case ChannelPreconditionFailed() as cause:
                what = "Delete the queue once it is empty, or name another: queue=, dead_letter="
                raise InvalidOption(
                    f"{broker}: a queue is there with other arguments ({told(cause)}). {what}."
                ) from error
            case cause if isinstance(cause, _REFUSALS):
                problem = f"{broker}: refused ({told(cause)}). Check user, password and rights"
                raise SourceUnavailable(problem) from error
            case _:
                raise


def _said(broker: str, farewell: Farewell) -> Exception:
    """What the broker's last word means."""
    problem = f"refused ({farewell.text})"
    # There may be room later.
    if farewell.code in _NOT_ALLOWED and "limit" not in farewell.text:
        return Unfit(f"{problem}. Check the virtual host, the path of the URL, and the user's rights to it")
    return SourceUnavailable(f"{broker}: {problem}")
