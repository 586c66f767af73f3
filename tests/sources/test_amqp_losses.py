"""What an AMQP broker loses without a word, and the adapter notices; and which topics a loss concerns."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import aio_pika
import pytest
from aiormq.exceptions import InvalidFrameError

from everfresh.model.errors import InvalidOption
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.sources import amqp_stream
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.amqp import Amqp
from everfresh.sources.amqp_address import Address
from everfresh.sources.amqp_connecting import connected
from everfresh.sources.amqp_queue import begin_sign
from everfresh.sources.amqp_wire import Deliveries, Farewell
from everfresh.sources.source import SourceUnavailable
from everfresh.testing.waiting import soon
from tests.rabbitmq_servers import new_queue
from tests.sources.rabbit import exchange_named, fetched, first_offset, meddler, n_in, next_with, start, tell, topics_of


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have streams look for losses all the time."""
    monkeypatch.setattr(amqp_stream, "_LOOK_EVERY_S", 0.05)


def adapter_of(url: str, *exchanges: str, reads: Any = "fedora", **options: Any) -> Amqp:  # noqa: ANN401 - those of Amqp
    """An adapter with a queue of this test alone."""
    return Amqp(url, queue=new_queue(), exchanges=exchanges, format=reads, **options)


async def make_anew(url: str, exchange: str) -> None:
    """Delete the exchange, with all that is bound to it, and declare it again."""
    async with meddler(url) as channel:
        await channel.exchange_delete(exchange)
        await channel.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)


# ---------------------------------------------------------------------------------------------------- exchanges


@pytest.mark.usefixtures("often")
async def test_an_exchange_that_is_made_anew_ends_the_connection(amqp_url: str, exchange: str) -> None:
    """Its bindings went with it, and the broker tells no consumer; the next connection tells the gap and hears."""
    adapter = adapter_of(amqp_url, exchange)
    offset = await first_offset(adapter, "n.*")
    async with adapter.open(start("n.*", offset=offset)) as stream:
        waiting = asyncio.create_task(stream.fetch(1, 30))
        await make_anew(amqp_url, exchange)
        with pytest.raises(SourceUnavailable, match=f"exchange {exchange} was deleted"):
            await waiting

    async with adapter.open(start("n.*", offset=offset)) as stream:
        batch = await stream.fetch(1, 0)
        await tell(amqp_url, exchange, "n.1")
        assert topics_of(await fetched(stream, 1)) == ["n.1"]
    assert f"exchange {exchange} was deleted" in batch.gap
    assert batch.gap_topics == ()


async def test_an_exchange_that_was_made_anew_meanwhile_is_a_gap_until_it_is_told(amqp_url: str, exchange: str) -> None:
    """Even when somebody has bound it again, who may have died before he told anybody; others are bound as before."""
    async with exchange_named(amqp_url, f"{exchange}-2"):
        adapter = adapter_of(amqp_url, exchange, f"{exchange}-2")
        offset = await first_offset(adapter, "n.*", "m.*")
        await make_anew(amqp_url, f"{exchange}-2")
        async with adapter.open(start("n.*", offset=offset)):
            pass

        async with adapter.open(start("n.*", offset=offset)) as stream:
            batch = await stream.fetch(1, 0)
            await tell(amqp_url, f"{exchange}-2", "m.1")
            assert topics_of(await fetched(stream, 1)) == ["m.1"]
        async with adapter.open(start("n.*", offset=batch.offset)) as stream:
            quiet = await stream.fetch(1, 0)

    assert f"exchange {exchange}-2 was deleted" in batch.gap
    assert (quiet.gap, quiet.offset) == ("", None)


async def test_an_exchange_that_nobody_may_write_to_is_consumed_unsigned(
    amqp_url: str, exchange: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so once, and what it sends comes."""

    async def refused(*_: object) -> None: ...

    monkeypatch.setattr("everfresh.sources.amqp.begin_sign", refused)
    adapter = adapter_of(amqp_url, exchange)
    with caplog.at_level(logging.WARNING, "everfresh.sources"):
        offset = await first_offset(adapter, "n.*")
        async with adapter.open(start("n.*", offset=offset)) as stream:
            await tell(amqp_url, exchange, "n.1")
            assert topics_of(await fetched(stream, 1)) == ["n.1"]

    assert [f"no right to write to {exchange}" in one.getMessage() for one in caplog.records] == [True]


async def test_a_sign_that_is_refused_leaves_nothing_behind(amqp_url: str) -> None:
    """Nobody may bind to the exchange without a name."""
    queue = new_queue()
    async with await aio_pika.connect(amqp_url) as connection:
        assert await begin_sign(connection, queue, "") is None


# ------------------------------------------------------------------------------------------------- dead letters


async def lose(url: str, exchange: str, queue: str) -> None:
    """Have a message go the way of those that were delivered too often, and somebody take it from there."""
    await tell(url, exchange, "n.poison")
    async with meddler(url) as channel:
        message = await (await channel.get_queue(queue, ensure=False)).get()
        assert message is not None
        await message.reject(requeue=False)
        await soon(lambda: has(url, f"{queue}.dead"), what="a dead letter")
        await (await channel.declare_queue(f"{queue}.dead", passive=True)).purge()
    await soon(lambda: has(url, f"{queue}.lost"), what="the sign of it")


async def gap_of(adapter: Amqp, offset: str, *, is_answered: bool) -> str:
    """What the first batch of a connection says."""
    async with adapter.open(start("n.*", offset=offset)) as stream:
        batch = await stream.fetch(1, 0)
        if is_answered:
            await stream.acknowledge(batch)
        return batch.gap


async def test_a_dead_letter_that_somebody_took_away_is_a_gap_until_it_is_answered(
    amqp_url: str, exchange: str
) -> None:
    """A shovel, or whoever looked and purged; and after that the next one is."""
    adapter = adapter_of(amqp_url, exchange)
    offset = await first_offset(adapter, "n.*")
    queue = adapter.name.rpartition("/")[2]
    await lose(amqp_url, exchange, queue)
    assert "took messages out" in await gap_of(adapter, offset, is_answered=False)
    await soon(lambda: has(amqp_url, f"{queue}.lost"), what="the sign of it, given back")

    assert "took messages out" in await gap_of(adapter, offset, is_answered=True)
    assert await gap_of(adapter, offset, is_answered=True) == ""
    await lose(amqp_url, exchange, queue)
    assert "took messages out" in await gap_of(adapter, offset, is_answered=True)


async def has(url: str, queue: str) -> bool:
    """Whether something waits."""
    return await n_in(url, queue) > 0


@pytest.mark.usefixtures("often")
async def test_a_message_lost_while_connected_is_a_gap(amqp_url: str, exchange: str) -> None:
    """And one that is lost after that was answered is another."""
    adapter = adapter_of(amqp_url, exchange, bindings=["other.*"])
    offset = await first_offset(adapter)
    dlx = f"{adapter.name.rpartition('/')[2]}.dlx"
    async with adapter.open(start(offset=offset)) as stream:
        for _ in range(2):
            await tell(amqp_url, dlx, "n.poison")
            batch = await next_with(stream, "gap")
            assert "took messages out" in batch.gap
            await stream.acknowledge(batch)


# ------------------------------------------------------------------------------------------------------- topics


async def test_a_new_topic_of_messages_that_bring_other_topics_concerns_all(amqp_url: str, exchange: str) -> None:
    """What a routing key brings is known only where it is the topic."""
    adapter = adapter_of(amqp_url, exchange, reads="auto")
    offset = await first_offset(adapter, "old.*")

    async with adapter.open(start("old.*", "new.*", offset=offset)) as stream:
        batch = await stream.fetch(1, 0)
        assert (bool(batch.gap), batch.gap_topics) == (True, ())
        assert list(await stream.widen(["newer.*"])) == ["#"]
        assert list(await stream.widen(["newer.*"])) == []


@pytest.mark.parametrize(
    ("options", "delivers"),
    [
        ({"format": "fedora"}, ("#",)),
        ({"format": "fedora", "bindings": ["a.#"]}, ("a.#",)),
        ({"format": "auto", "bindings": ["a.#"]}, ("#",)),
        ({"format": "cloudevents", "bindings": ["a.#"]}, ("#",)),
        ({"format": "cloudevents", "bindings": ["a.#"], "delivers": ["shop.#"]}, ("shop.#",)),
    ],
)
def test_what_is_delivered_is_said_in_the_words_of_events(options: dict[str, Any], delivers: Sequence[str]) -> None:
    """A gap of CloudEvents concerns their types, whatever they are routed by."""
    assert Amqp("amqp://host", queue="q", **options).delivers == delivers


def test_a_url_says_what_is_delivered() -> None:
    """As for other sources."""
    url = SourceUrl("amqp://host/?queue=q&bind=a.%23&delivers=shop.%23&delivers=bug.%23")
    assert Amqp.of_url(url, format="cloudevents", name=None).delivers == ("shop.#", "bug.#")
    url.check_taken()


class Own:
    """A format of one's own."""

    name: str = "own"

    def events_of(self, message: Message) -> Sequence[Event]:
        """None."""
        return ()


@pytest.mark.parametrize("reads", ["cloudevents", "debezium", Own()])
def test_events_with_topics_of_their_own_need_bindings(reads: Any) -> None:  # noqa: ANN401 - a name, or a format
    """Routing keys that are no topics would be bound by nobody, and nothing would ever come."""
    with pytest.raises(InvalidOption, match="Name what to bind, or '#' for all"):
        Amqp("amqp://host", queue="q", format=reads)


async def test_topics_that_routing_keys_need_not_be_are_said(
    amqp_url: str, exchange: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once: a message may bring what it is not routed by."""
    adapter = adapter_of(amqp_url, exchange, reads="auto")
    with caplog.at_level(logging.WARNING, "everfresh.sources"):
        await first_offset(adapter, "n.*")
        await first_offset(adapter, "n.*")

    assert ["need bindings" in one.getMessage() for one in caplog.records] == [True]


# -------------------------------------------------------------------------------------------------- connections


async def test_a_virtual_host_that_is_not_there_is_named(amqp_url: str) -> None:
    """The broker's words say so, which the driver does not read."""
    with pytest.raises(SourceUnavailable, match=r"vhost novhost not found.*Check the virtual host"):
        async with Amqp(f"{amqp_url}/novhost", queue="q").open(start("n.*")):
            pass


class Failing:
    """A connection whose end is cancelled by its driver."""

    async def close(self) -> None:
        """As a future does that the driver had cancelled."""
        raise asyncio.CancelledError


ADDRESS = Address.of(SourceUrl("amqp://host"), None)


async def test_a_driver_that_cancels_the_end_of_a_connection_cancels_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked for it, and the loop of sources would end."""

    async def connect(*_: object) -> Failing:
        return Failing()

    monkeypatch.setattr(Address, "connect", connect)
    with pytest.raises(SourceUnavailable, match="broke"):
        async with connected(ADDRESS, start(), Deliveries()):
            raise SourceUnavailable("it broke")


@pytest.mark.parametrize(
    "farewell",
    [
        Farewell(530, "NOT_ALLOWED - vhost x not found"),
        Farewell(530, "NOT_ALLOWED - access to vhost x refused: connection limit (1) is reached"),
        Farewell(541, "INTERNAL_ERROR - access to vhost x refused: vhost x is down"),
        None,
    ],
)
async def test_what_a_broker_says_at_the_door(monkeypatch: pytest.MonkeyPatch, farewell: Farewell | None) -> None:
    """It is told as the broker said it, and tried again."""

    async def connect(_: object, __: str, deliveries: Deliveries) -> None:
        deliveries.farewell = farewell
        raise InvalidFrameError("Expected one of ['Connection.OpenOk']")

    monkeypatch.setattr(Address, "connect", connect)
    with pytest.raises(SourceUnavailable, match=farewell.text.split(":")[0] if farewell else "OpenOk"):
        async with connected(ADDRESS, start(), Deliveries()):
            pass
