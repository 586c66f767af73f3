"""The AMQP adapter by itself, against a real RabbitMQ: what it fetches, acknowledges, binds, sends, and notices."""

import asyncio
from collections.abc import Iterator

import aio_pika
import pytest

from everfresh.model.errors import InvalidDependency, InvalidOption
from everfresh.model.message import Message
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.amqp import Amqp
from everfresh.sources.source import SourceUnavailable, Stream
from everfresh.testing.waiting import soon
from tests.rabbitmq_servers import RabbitServer, new_queue
from tests.redis_proxy import Proxy, proxy_to
from tests.sources.rabbit import (
    delete_queue,
    exchange_named,
    fetched,
    first_offset,
    meddler,
    n_in,
    next_with,
    start,
    tell,
    topics_of,
)


@pytest.fixture
def adapter(amqp_url: str, exchange: str) -> Amqp:
    """An adapter with a queue of this test alone, whose messages have the topics of their events."""
    return Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], format="fedora")


@pytest.fixture
def proxy(shared_rabbitmq: RabbitServer) -> Iterator[Proxy]:
    """A way to the broker that can be cut."""
    with proxy_to(shared_rabbitmq.port) as made:
        yield made


def queue_of(adapter: Amqp) -> str:
    """The name of its queue."""
    return adapter.name.rpartition("/")[2]


# --------------------------------------------------------------------------------------------- messages and acks


async def test_what_is_published_on_a_topic_that_was_asked_for_is_fetched(
    adapter: Amqp, amqp_url: str, exchange: str
) -> None:
    """Topic, body, headers as texts, and id; what no pattern matches stays away."""
    async with adapter.open(start("shop.*", "bug.#")) as stream:
        assert (await stream.fetch(1, 0)).gap
        headers = {"sev": 20, "who": "me", "deep": {"a": [1, True]}, "none": None}
        await tell(
            amqp_url, exchange, "shop.sold", body=b"x", headers=headers, message_id="m1", content_type="text/plain"
        )
        await tell(amqp_url, exchange, "bug.a.b")
        async with meddler(amqp_url) as channel:
            await (await channel.get_exchange(exchange)).publish(aio_pika.Message(b""), "other", mandatory=False)

        messages = await fetched(stream, 2)

    assert messages[0] == Message(
        topic="shop.sold",
        body=b"x",
        headers={"sev": "20", "who": "me", "deep": '{"a":[1,true]}', "none": "null", "content-type": "text/plain"},
        id="m1",
    )
    assert messages[1].topic == "bug.a.b"


async def test_messages_come_in_order_and_no_more_than_asked_for(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """As the queue has them."""
    topics = [f"n.{number}" for number in range(40)]
    async with adapter.open(start("n.*")) as stream:
        await stream.fetch(1, 0)
        await tell(amqp_url, exchange, *topics)

        first = await next_with(stream, "messages")
        rest = await fetched(stream, 40 - len(first.messages), n_max=7)

    assert topics_of([*first.messages, *rest]) == topics


async def test_what_was_not_acknowledged_comes_again(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """And what was, with all before it, does not."""
    offset = await first_offset(adapter, "n.*")
    await tell(amqp_url, exchange, "n.1", "n.2", "n.3")
    async with adapter.open(start("n.*", offset=offset)) as stream:
        await fetched(stream, 2, n_max=1)
        batch = await next_with(stream, "messages")
        assert topics_of(batch.messages) == ["n.3"]

    async with adapter.open(start("n.*", offset=offset)) as stream:
        again = await fetched(stream, 1)
    assert topics_of(again) == ["n.3"]

    await soon(lambda: n_is(amqp_url, queue_of(adapter), 0), what="an empty queue")


async def n_is(url: str, queue: str, n: int) -> bool:
    """Whether so many messages wait."""
    return await n_in(url, queue) == n


async def test_a_fetch_that_is_cancelled_loses_nothing(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """What had come comes with the next one."""
    async with adapter.open(start("n.*")) as stream:
        await stream.fetch(1, 0)
        waiting = asyncio.create_task(stream.fetch(10, 30))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await tell(amqp_url, exchange, "n.1")

        assert topics_of(await fetched(stream, 1)) == ["n.1"]


async def test_a_batch_of_an_earlier_connection_cannot_be_acknowledged(
    adapter: Amqp, amqp_url: str, exchange: str
) -> None:
    """Its numbers would be those of other messages."""
    offset = await first_offset(adapter, "n.*")
    await tell(amqp_url, exchange, "n.1")
    async with adapter.open(start("n.*", offset=offset)) as stream:
        batch = await next_with(stream, "messages")

    async with adapter.open(start("n.*", offset=offset)) as stream:
        with pytest.raises(SourceUnavailable, match="earlier connection"):
            await stream.acknowledge(batch)


async def test_no_more_than_prefetch_are_under_way(amqp_url: str, exchange: str) -> None:
    """Memory is bounded by it, and the rest is for other consumers."""
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], prefetch=3)
    offset = await first_offset(adapter, "n.*")
    await tell(amqp_url, exchange, *(f"n.{number}" for number in range(8)))

    async with adapter.open(start("n.*", offset=offset)) as one, adapter.open(start("n.*", offset=offset)) as other:
        assert (await n_held(one, 3), await n_held(other, 3)) == (3, 3)
        assert await n_in(amqp_url, queue_of(adapter)) == 2


async def n_held(stream: Stream, n: int) -> int:
    """How many messages come without an acknowledgement; so many are waited for."""
    n_fetched = 0

    async def is_enough() -> bool:
        nonlocal n_fetched
        n_fetched += len((await stream.fetch(500, 0.05)).messages)
        return n_fetched >= n

    await soon(is_enough, what=f"{n} messages")
    return n_fetched


# ------------------------------------------------------------------------------------------------------ topics


async def test_widen_asks_for_more_and_says_what_is_new(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """Of those the events of before went elsewhere; what was bound already is not new."""
    async with adapter.open(start("old.*")) as stream:
        await stream.fetch(1, 0)

        new = await stream.widen(["old.*", "new.*"])
        await tell(amqp_url, exchange, "new.1")

        assert list(new) == ["new.*"]
        assert topics_of(await fetched(stream, 1)) == ["new.1"]


async def test_what_was_bound_stays_bound(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """Another process, or an earlier version of this one, may need it."""
    offset = await first_offset(adapter, "old.*")

    async with adapter.open(start("new.*", offset=offset)) as stream:
        gap = await stream.fetch(1, 0)
        await tell(amqp_url, exchange, "old.1")
        assert topics_of(await fetched(stream, 1)) == ["old.1"]
    assert gap.gap_topics == ("new.*",)


async def test_topics_that_were_bound_before_are_no_gap(adapter: Amqp) -> None:
    """The offset says which were, those by `widen` too."""
    async with adapter.open(start("a.*")) as stream:
        await stream.fetch(1, 0)
        await stream.widen(["b.*"])
        offset = (await next_with(stream, "offset")).offset

    async with adapter.open(start("a.*", "b.*", offset=offset)) as stream:
        batch = await stream.fetch(1, 0)
    assert (batch.gap, batch.offset) == ("", None)


async def test_bindings_that_are_given_are_all_there_is(amqp_url: str, exchange: str) -> None:
    """Nothing is derived then, and nothing is widened."""
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], bindings=["only.#"], format="fedora")
    async with adapter.open(start("other.*")) as stream:
        await stream.fetch(1, 0)
        assert list(await stream.widen(["more.*"])) == []
        await tell(amqp_url, exchange, "only.this")

        assert topics_of(await fetched(stream, 1)) == ["only.this"]
        with pytest.raises(aio_pika.exceptions.DeliveryError):
            await tell(amqp_url, exchange, "other.1")
    assert adapter.delivers == ("only.#",)


async def test_a_topic_longer_than_a_binding_asks_for_everything(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """Too much costs little."""
    async with adapter.open(start(".".join(["#"] * 200))) as stream:
        await stream.fetch(1, 0)
        await tell(amqp_url, exchange, "any.thing")

        assert topics_of(await fetched(stream, 1)) == ["any.thing"]


async def test_events_of_all_exchanges_come(amqp_url: str, exchange: str) -> None:
    """A bus may have several."""
    async with exchange_named(amqp_url, f"{exchange}-2"):
        adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange, f"{exchange}-2"])
        async with adapter.open(start("n.*")) as stream:
            await stream.fetch(1, 0)
            await tell(amqp_url, exchange, "n.1")
            await tell(amqp_url, f"{exchange}-2", "n.2")

            assert topics_of(await fetched(stream, 2)) == ["n.1", "n.2"]


# --------------------------------------------------------------------------------------------------------- gaps


async def test_a_queue_that_the_store_never_followed_is_a_gap(adapter: Amqp) -> None:
    """What was built before it was bound may have missed events; it is told with what will be the offset."""
    async with adapter.open(start("n.*")) as stream:
        first, second = await stream.fetch(10, 0), await stream.fetch(10, 0)

    assert "not known to this store" in first.gap
    assert first.gap_topics == ()
    assert first.offset is not None
    assert (second.gap, second.offset) == ("", None)


async def test_a_queue_that_is_the_same_is_no_gap(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """Nobody consumed for a while, and the queue has kept everything."""
    offset = await first_offset(adapter, "n.*")
    await tell(amqp_url, exchange, "n.1")

    async with adapter.open(start("n.*", offset=offset)) as stream:
        assert topics_of(await fetched(stream, 1)) == ["n.1"]


@pytest.mark.parametrize("is_declared_again", [False, True])
async def test_a_queue_that_was_deleted_meanwhile_is_a_gap(
    adapter: Amqp, amqp_url: str, exchange: str, is_declared_again: bool
) -> None:
    """Even when somebody has declared it again, who may have died before he told anybody."""
    offset = await first_offset(adapter, "n.*")
    await delete_queue(amqp_url, queue_of(adapter))
    if is_declared_again:
        async with adapter.open(start("n.*")):
            pass

    async with adapter.open(start("n.*", offset=offset)) as stream:
        batch = await stream.fetch(10, 0)
        await tell(amqp_url, exchange, "n.1")
        assert topics_of(await fetched(stream, 1)) == ["n.1"]

    assert "was deleted" in batch.gap
    assert batch.offset not in (None, offset)


async def test_a_queue_that_is_deleted_ends_the_connection(adapter: Amqp, amqp_url: str) -> None:
    """Nothing would come any more, and nobody would know."""
    async with adapter.open(start("n.*")) as stream:
        offset = (await stream.fetch(1, 0)).offset
        waiting = asyncio.create_task(stream.fetch(1, 30))
        await delete_queue(amqp_url, queue_of(adapter))
        with pytest.raises(SourceUnavailable, match="deleted"):
            await waiting

    async with adapter.open(start("n.*", offset=offset)) as stream:
        assert "was deleted" in (await stream.fetch(1, 0)).gap


async def test_a_message_delivered_too_often_is_a_dead_letter_and_a_gap(amqp_url: str, exchange: str) -> None:
    """It is out of everybody's way, and what depended on it is built again; once."""
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], delivery_limit=1)
    offset = await first_offset(adapter, "n.*")
    await tell(amqp_url, exchange, "n.poison", "n.2")
    for _ in range(2):
        async with adapter.open(start("n.*", offset=offset)) as stream:
            await next_with(stream, "messages")
    await soon(lambda: n_is(amqp_url, f"{queue_of(adapter)}.dead", 2), what="two dead letters")

    async with adapter.open(start("n.*", offset=offset)) as stream:
        batch = await stream.fetch(10, 0)
        await stream.acknowledge(batch)
    async with adapter.open(start("n.*", offset=offset)) as stream:
        quiet = await stream.fetch(10, 0)

    assert "took messages out" in batch.gap
    assert batch.gap_topics == ()
    assert (quiet.gap, quiet.offset) == ("", None)


async def test_an_offset_of_another_kind_of_source_is_a_gap(adapter: Amqp) -> None:
    """It says nothing of this queue."""
    async with adapter.open(start("n.*", offset="1692000-0")) as stream:
        assert (await stream.fetch(1, 0)).gap


# -------------------------------------------------------------------------------------------------- connections


async def test_a_connection_that_breaks_ends_the_stream(
    adapter: Amqp, amqp_url: str, exchange: str, proxy: Proxy, shared_rabbitmq: RabbitServer
) -> None:
    """Whoever waits is told, and everything comes again on the next one."""
    cut = Amqp(amqp_url.replace(str(shared_rabbitmq.port), str(proxy.port)), queue=new_queue(), exchanges=[exchange])
    async with cut.open(start("n.*")) as stream:
        offset = (await stream.fetch(1, 0)).offset
        await tell(amqp_url, exchange, "n.1")
        batch = await next_with(stream, "messages")
        waiting = asyncio.create_task(stream.fetch(1, 30))
        await asyncio.sleep(0)
        proxy.cut()
        with pytest.raises(SourceUnavailable, match="broke"):
            await waiting
        for ask in (
            lambda: stream.acknowledge(batch),
            lambda: stream.widen(["m.*"]),
            lambda: stream.send(Message(topic="n.2", body=b"")),
        ):
            with pytest.raises(SourceUnavailable):
                await ask()

    async with cut.open(start("n.*", offset=offset)) as stream:
        assert topics_of(await fetched(stream, 1)) == ["n.1"]


async def test_a_broker_that_is_not_there_is_said_without_the_password(exchange: str) -> None:
    """By whatever the driver says of it."""
    adapter = Amqp("amqp://guest:s3cret@127.0.0.1:1", queue="q")
    with pytest.raises(SourceUnavailable) as caught:
        async with adapter.open(start("n.*")):
            pass

    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r} {adapter.name} {adapter!r}"
    assert "127.0.0.1:1" in str(caught.value)


async def test_a_wrong_password_is_tried_again(amqp_url: str, exchange: str) -> None:
    """One that was changed at the broker first must not end a process that serves."""
    adapter = Amqp(amqp_url.replace("guest:guest", "guest:s3cret"), queue="q", exchanges=[exchange])
    with pytest.raises(SourceUnavailable, match="Check user, password") as caught:
        async with adapter.open(start("n.*")):
            pass

    assert "s3cret" not in str(caught.value)


async def test_a_missing_exchange_is_waited_for(amqp_url: str) -> None:
    """The message says which, and what to do."""
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=["amq.topic", "nobodys"])
    with pytest.raises(SourceUnavailable, match=r"no exchange nobodys\. Declare it, or name another"):
        async with adapter.open(start("n.*")):
            pass


async def test_an_exchange_that_has_gone_is_waited_for(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """It was there before, so whoever owns it may bring it back."""
    await first_offset(adapter, "n.*")
    async with meddler(amqp_url) as channel:
        await channel.exchange_delete(exchange)

    with pytest.raises(SourceUnavailable, match=f"no exchange {exchange}"):
        async with adapter.open(start("n.*")):
            pass


async def test_a_queue_with_other_arguments_is_a_wrong_option(amqp_url: str, exchange: str) -> None:
    """The broker would refuse it for ever."""
    queue = new_queue()
    async with meddler(amqp_url) as channel:
        await channel.declare_queue(queue, durable=True)

    adapter = Amqp(amqp_url, queue=queue, exchanges=[exchange])
    with pytest.raises(InvalidOption, match=r"other arguments.*Delete the queue"):
        async with adapter.open(start("n.*")):
            pass


async def test_lag_is_what_waits_behind(amqp_url: str, exchange: str) -> None:
    """At the broker, and here."""
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], prefetch=1)
    offset = await first_offset(adapter, "n.*")
    await tell(amqp_url, exchange, "n.1", "n.2", "n.3")

    async with adapter.open(start("n.*", offset=offset)) as stream:
        batch = await next_with(stream, "messages")

    assert batch.lag == 3


# ------------------------------------------------------------------------------------------------------ sending


async def test_what_is_sent_comes_back(adapter: Amqp) -> None:
    """Also where nothing asked for its topic."""
    message = Message(topic="everfresh.canary.me", body=b"{}", headers={"everfresh-canary": "me"}, id="c1")
    async with adapter.open(start("n.*")) as stream:
        await stream.fetch(1, 0)

        await stream.send(message)
        (back,) = await fetched(stream, 1)

    assert (back.topic, back.headers["everfresh-canary"], back.id) == (message.topic, "me", "c1")


async def test_canaries_are_bound_without_a_gap(adapter: Amqp) -> None:
    """Nothing depends on them."""
    offset = await first_offset(adapter, "n.*")

    async with adapter.open(start("n.*", "everfresh.canary.*", offset=offset)) as stream:
        await stream.send(Message(topic="everfresh.canary.me", body=b"{}"))
        assert topics_of(await fetched(stream, 1)) == ["everfresh.canary.me"]


# ---------------------------------------------------------------------------------------------------------- tap


async def test_a_tap_takes_nothing_from_the_application(adapter: Amqp, amqp_url: str, exchange: str) -> None:
    """Both get the message, and the tap's queue goes with it."""
    offset = await first_offset(adapter, "n.*")
    async with adapter.tapped().open(start()) as tap:
        await tell(amqp_url, exchange, "n.1", "n.2")
        assert topics_of(await fetched(tap, 2)) == ["n.1", "n.2"]

    async with adapter.open(start("n.*", offset=offset)) as stream:
        assert topics_of(await fetched(stream, 2)) == ["n.1", "n.2"]


# ------------------------------------------------------------------------------------------------------ options


def test_the_name_holds_neither_user_nor_password() -> None:
    """It stands in reports, logs, and the store."""
    assert Amqp("amqps://me:secret@bus.example/shop", queue="q").name == "amqp://bus.example:5671/shop/q"
    assert Amqp("amqp://bus.example", queue="q").name == "amqp://bus.example:5672/%2F/q"
    assert Amqp("amqp://bus.example", queue="q", name="bus").name == "bus"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"queue": ""}, "queue: '' is no name"),
        ({"queue": "q" * 201}, "is no name"),
        ({"exchanges": []}, "exchanges: name at least one"),
        ({"exchanges": "amq.topic"}, "exchanges: name at least one"),
        ({"exchanges": [""]}, "exchanges: '' is no name"),
        ({"dead_letter": "q"}, "dead_letter: 'q' is taken by the queue itself"),
        ({"prefetch": 0}, "prefetch: 0"),
        ({"prefetch": 65_536}, "prefetch: 65536"),
        ({"delivery_limit": 0}, "delivery_limit: a message must be delivered"),
    ],
)
def test_options_that_cannot_hold_are_refused(options: dict[str, object], problem: str) -> None:
    """Before anything is connected."""
    with pytest.raises(InvalidOption, match=problem):
        Amqp("amqp://host", **{"queue": "q", **options})


def test_a_binding_is_a_pattern() -> None:
    """In the words of topics."""
    with pytest.raises(InvalidDependency):
        Amqp("amqp://host", queue="q", bindings=["a..b"])


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://host", "write amqp://"),
        ("amqp:///vhost", "write amqp://"),
        ("amqp://host?cafile=/x", "without TLS there are no certificates"),
        ("amqp://host?queue=q", "nothing here is called queue"),
        ("amqps://host?cafile=/nowhere.pem", "certificates cannot be read"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, problem: str) -> None:
    """With what to write instead."""
    with pytest.raises(InvalidOption, match=problem):
        Amqp(url, queue="q")


def test_a_url_alone_says_all() -> None:
    """As the command line has it."""
    url = SourceUrl(
        "amqp://host/%2F?queue=q&exchange=a&exchange=b&bind=x.%23&prefetch=7&delivery_limit=3&dead_letter=d&heartbeat=9"
    )
    made = Amqp.of_url(url, format="fedora", name=None)
    url.check_taken()

    assert made.delivers == ("x.#",)
    assert made.format.name == "fedora"
    assert made.name == "amqp://host:5672/%2F/q"


def test_a_url_names_the_queue() -> None:
    """Two applications with one queue would take each other's messages, so none is made up."""
    with pytest.raises(InvalidOption, match="add \\?queue=NAME"):
        Amqp.of_url(SourceUrl("amqp://host"), format="auto", name=None)
