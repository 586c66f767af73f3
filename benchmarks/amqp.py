"""Events by AMQP: RabbitMQ and Redis on the same machine, one process that consumes and applies.

Beside it, in the same rounds, one that receives and acknowledges and does nothing else: as anybody does it with the
driver, and with our adapter alone, which passes the driver by.
"""

import asyncio
import json
import statistics
import time
from contextlib import suppress

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from benchmarks.rabbitmq_server import broker
from benchmarks.redis_server import server
from benchmarks.report import Report

from everfresh import Cache, dep
from everfresh.cache import Notice
from everfresh.sources.amqp import Amqp
from everfresh.sources.source import Start

_N_EVENTS = 20_000
_N_ROUNDS = 3
_N_AT_ONCE = 500
_PREFETCH = 2_000
_EXCHANGE = "amq.topic"
_TOPIC = "org.shop.prod.stock.item.changed"
_QUEUE = "measured"
_NAME = "amqp"
_HEADERS = {
    "fedora_messaging_schema": "base.message",
    "fedora_messaging_severity": 20,
    "sent-at": "2026-11-22T01:02:03+00:00",
}


def main(report: Report) -> None:
    """Consume a full queue, in turn by each way, and hold the rate to its bars."""
    with broker(report, "amqp") as url:
        if url is None:
            return
        with server(report, "amqp") as running:
            if running is not None:
                asyncio.run(_measure(report, url, running.url_of("amqp")))


async def _measure(report: Report, url: str, store: str) -> None:
    print(
        f"\nEvents by AMQP, {_N_EVENTS:,} in a quorum queue, one touched entry each, Redis behind, {_N_ROUNDS} rounds"
    )
    with Cache(store, near=0) as cache:
        adapter = Amqp(url, queue=_QUEUE, exchanges=[_EXCHANGE], format="fedora", prefetch=_PREFETCH, name=_NAME)

        @cache.cached(depends_on=[dep.Topic(_TOPIC, where={"item.id": dep.arg("number")})])
        async def stock(number: int) -> int:
            return number

        await stock(0)
        offset = await _followed(cache, adapter)
        results: dict[str, list[tuple[float, float]]] = {}
        for _ in range(_N_ROUNDS):
            for start in range(0, _N_EVENTS, _N_AT_ONCE):
                await asyncio.gather(*map(stock, range(start, start + _N_AT_ONCE)))
            for way, consume in (
                ("aio-pika, receive and acknowledge", lambda: _received(url)),
                ("adapter, receive and acknowledge", lambda: _fetched(adapter, offset)),
                ("consume and apply, fresh entries", lambda: _applied(cache, adapter)),
                ("consume and apply, dirty entries", lambda: _applied(cache, adapter)),
            ):
                await _publish(url)
                started, cpu = time.perf_counter(), time.process_time()
                await consume()
                passed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
                results.setdefault(way, []).append((_N_EVENTS / passed_s, cpu_s / _N_EVENTS * 1e6))
    _judge(report, results)


def _judge(report: Report, results: dict[str, list[tuple[float, float]]]) -> None:
    rates: dict[str, float] = {}
    for way, rounds in results.items():
        report.raw[f"amqp, {way}"] = [rate for rate, _ in rounds]
        report.raw[f"amqp, {way}, CPU, µs"] = [cpu_us for _, cpu_us in rounds]
        rates[way] = statistics.median(rate for rate, _ in rounds)
        least, most = min(rounds)[0], max(rounds)[0]
        cpu_us = statistics.median(cpu_us for _, cpu_us in rounds)
        print(f"  {way}: {least:,.0f} to {most:,.0f}/s; {cpu_us:.0f} µs of CPU here each")
    alone, ours = rates["aio-pika, receive and acknowledge"], rates["adapter, receive and acknowledge"]
    for entries in ("fresh", "dirty"):
        rate = rates[f"consume and apply, {entries} entries"]
        report.at_least(f"AMQP, consume and apply, {entries} entries", rate, 8_000, "events/s")
        report.at_most(f"AMQP, receiving alone with aio-pika, against that, {entries}", alone / rate, 1.5, "x")
        report.figure(f"AMQP, receiving alone with the adapter, against that, {entries}", ours / rate, "x")


async def _publish(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        exchange = await channel.get_exchange(_EXCHANGE)
        for number in range(_N_EVENTS):
            await exchange.publish(_message(number), _TOPIC, mandatory=False)
        while await _n_waiting(channel) < _N_EVENTS:  # noqa: ASYNC110 - it is another process that has to get there
            await asyncio.sleep(0.05)


async def _n_waiting(channel: AbstractChannel) -> int:
    declared = await channel.declare_queue(_QUEUE, passive=True)
    return int(declared.declaration_result.message_count or 0)


def _message(number: int) -> aio_pika.Message:
    body = {"item": {"id": number, "name": f"article {number}", "count": 7}, "agent": "till-3"}
    return aio_pika.Message(
        json.dumps(body).encode(),
        headers=dict(_HEADERS),
        message_id=f"7947e01f-86c0-f64a-2fd4-{number:012}",
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
    )


async def _followed(cache: Cache, adapter: Amqp) -> str:
    """Consume for the first time: that is a gap, which is answered and over after this."""
    consuming = asyncio.create_task(cache.consume(adapter))
    while True:
        states = (await cache.sources.read([_NAME])).states
        offset = states[0].offset if states else None
        if offset is not None:
            break
        await asyncio.sleep(0.01)
    await _ended(consuming)
    return offset


async def _received(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=_PREFETCH)
        queue = await channel.get_queue(_QUEUE, ensure=False)
        all_came = asyncio.Event()
        n_received = 0

        async def take(message: AbstractIncomingMessage) -> None:
            nonlocal n_received
            n_received += 1
            if n_received % _N_AT_ONCE == 0:
                await message.ack(multiple=True)
            if n_received == _N_EVENTS:
                all_came.set()

        await queue.consume(take)
        await all_came.wait()


async def _fetched(adapter: Amqp, offset: str) -> None:
    n_fetched = 0
    async with adapter.open(Start(offset=offset, topics=(_TOPIC,), consumer="alone")) as stream:
        while n_fetched < _N_EVENTS:
            batch = await stream.fetch(_N_AT_ONCE, 1.0)
            await stream.acknowledge(batch)
            n_fetched += len(batch.messages)


async def _applied(cache: Cache, adapter: Amqp) -> None:
    all_applied = asyncio.Event()
    n_applied = 0

    def note(notice: Notice) -> None:
        nonlocal n_applied
        if notice.name == "event.applied":
            n_applied += notice.fields["n_events"]
            if n_applied >= _N_EVENTS:
                all_applied.set()

    remove = cache.listen(note)
    consuming = asyncio.create_task(cache.consume(adapter))
    await all_applied.wait()
    remove()
    # The last acknowledgement is no part of the rate, but must not be lost.
    await _ended(consuming)


async def _ended(consuming: "asyncio.Task[None]") -> None:
    consuming.cancel()
    with suppress(asyncio.CancelledError):
        await consuming
