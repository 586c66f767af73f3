"""A build may take as long as it likes: its lease is renewed while its process lives."""

from datetime import timedelta

from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import UNLIMITED
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, waited_for

LEASE = timedelta(milliseconds=100)


async def test_a_build_that_outlasts_its_lease_keeps_it(
    open_cache: OpenCache, sqlite_url: str, clock: FakeClock, gate: Gate
) -> None:
    """Who else wants the value waits on, and the function runs once."""
    executed: list[str] = []
    one, other = (Colour(open_cache(sqlite_url, lease=LEASE), is_async=True) for _ in range(2))

    async def value() -> int:
        executed.append("value")
        await gate.stop()
        return 1

    ones, others = one.cached()(value), other.cached()(value)

    def ends_at() -> float:
        """When the lease runs out, as the queue has it."""
        return one.cache.engine.store.carry_out(TakeDue({ones.name: UNLIMITED}, 1, 1.0)).next_due or 0.0

    builder = one.start(ones)
    await gate.reached()
    for _ in range(5):
        clock.advance(0.09)
        await soon(lambda: ends_at() >= clock() + 0.09, what="a renewal")
    waiter = other.start(others)
    await waited_for(other.cache, others.key(), 1)
    gate.open()

    assert (await builder, await waiter, executed) == (1, 1, ["value"])


async def test_a_build_with_a_shorter_lease_is_renewed_beside_one_with_a_longer(
    open_cache: OpenCache, sqlite_url: str, clock: FakeClock, gate: Gate
) -> None:
    """Whoever renews is woken for it, and does not sleep as long as the first lease allows."""
    cache = open_cache(sqlite_url, lease=timedelta(hours=1))
    hasty = open_cache(sqlite_url, lease=LEASE)
    patient, brief = Colour(cache, is_async=True), Colour(hasty, is_async=True)

    @patient.cached()
    async def long() -> int:
        await gate.stop()
        return 1

    @brief.cached()
    async def short() -> int:
        await gate.stop()
        return 2

    def ends_at() -> float:
        return hasty.engine.store.carry_out(TakeDue({short.name: UNLIMITED}, 1, 1.0)).next_due or 0.0

    builders = [patient.start(long), brief.start(short)]
    for _ in builders:
        await gate.reached()
    clock.advance(0.09)
    await soon(lambda: ends_at() >= clock() + 0.09, what="a renewal")
    gate.open()

    assert [await builder for builder in builders] == [1, 2]
