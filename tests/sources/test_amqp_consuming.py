"""The AMQP source and the loop of all sources together, against a real RabbitMQ."""

from collections.abc import AsyncIterator

import pytest

from everfresh import Cache, State, dep
from everfresh.sources.amqp import Amqp
from everfresh.testing.waiting import soon
from tests.rabbitmq_servers import new_queue
from tests.sources.rabbit import consumed, delete_queue, n_in, tell


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    """A cache in memory."""
    async with Cache("memory:") as cache:
        yield cache


async def state_of(cache: Cache, key: str) -> State | None:
    """The state of an entry, None when there is none."""
    entry = await cache.stored(key)
    return None if entry is None else entry.state


async def test_an_event_touches_what_depends_on_it_and_is_acknowledged(
    amqp_url: str, exchange: str, cache: Cache
) -> None:
    """The topics are asked for because a function depends on them."""

    @cache.cached(key="price:{item}", depends_on=[dep.Topic("shop.*", where={"item": dep.arg("item")})])
    async def price(item: str) -> str:
        return item

    await price("tea")
    await price("milk")
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange])
    async with consumed(cache, adapter):
        await price("tea")
        await price("milk")
        await tell(amqp_url, exchange, "shop.sold", body=b'{"item": "tea"}')

        await soon(lambda: is_dirty(cache, "price:tea"), what="a touched entry")
        assert await state_of(cache, "price:milk") is State.FRESH
    assert await n_in(amqp_url, adapter.name.rpartition("/")[2]) == 0


async def is_dirty(cache: Cache, key: str) -> bool:
    """Whether an event has touched the entry."""
    return await state_of(cache, key) is State.DIRTY


async def test_a_function_that_comes_later_is_heard_of(amqp_url: str, exchange: str, cache: Cache) -> None:
    """Its topics are bound, and what it had built before is built again, as it may have missed events."""

    @cache.cached(key="early", depends_on=[dep.Topic("early.*")])
    async def early() -> None: ...

    await early()
    async with consumed(cache, Amqp(amqp_url, queue=new_queue(), exchanges=[exchange])):

        @cache.cached(key="late", depends_on=[dep.Topic("late.*")])
        async def late() -> None: ...

        await late()
        await soon(lambda: is_dirty(cache, "late"), what="what may have missed events")
        await late()
        await tell(amqp_url, exchange, "late.1")

        await soon(lambda: is_dirty(cache, "late"), what="a touched entry")


async def test_a_queue_that_is_deleted_is_declared_again_and_answered(
    amqp_url: str, exchange: str, cache: Cache
) -> None:
    """What depends on the source is built again, the gap is reported, and events come as before."""

    @cache.cached(key="entry", depends_on=[dep.Topic("n.*")])
    async def entry() -> None: ...

    await entry()
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange])
    async with consumed(cache, adapter):
        await entry()
        assert await state_of(cache, "entry") is State.FRESH
        await delete_queue(amqp_url, adapter.name.rpartition("/")[2])

        await soon(lambda: is_dirty(cache, "entry"), what="what may have missed events")
        await entry()
        await tell(amqp_url, exchange, "n.1")
        await soon(lambda: is_dirty(cache, "entry"), what="a touched entry")
    (state,) = (await cache.sources.read([adapter.name])).states
    assert state.reports[0].report.n_gaps == 1
