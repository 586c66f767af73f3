"""A worker that dies holding leases: its entries are done again, by whoever comes, at most once more."""

from everfresh import Cache
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import UNLIMITED
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream

LEASE_S = 10.0


def take_and_die(cache: Cache, name: str) -> None:
    """Take what is due, run nothing, and renew nothing: a process that was killed right then."""
    took = cache.engine.store.carry_out(TakeDue({name: UNLIMITED}, 8, LEASE_S))
    assert len(took.due) == 1


async def test_a_worker_killed_in_the_middle_is_done_again(
    colour: Colour, upstream: Upstream, clock: FakeClock
) -> None:
    """Conformance 24: when its lease is over, by another worker, which finds the entry as it was left."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    take_and_die(colour.cache, value.name)
    # It had run the function, and was killed before its commit.
    upstream.read()
    clock.advance(LEASE_S)
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(value), what="the refresh by another worker")

    assert (await done(value.peek()), upstream.n_read) == (2, 3)


async def test_its_lease_is_respected_until_it_ends(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """Nobody can tell a dead worker from a slow one before that."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    @colour.cached(depends_on=[upstream.tag])
    async def other() -> int:
        return upstream.value

    await done(value())
    await done(other())
    await upstream.change(2)
    take_and_die(colour.cache, value.name)
    clock.advance(LEASE_S - 0.1)
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(other), what="the other refresh")

    assert upstream.n_read == 1


async def test_an_entry_whose_builders_die_is_given_up_in_the_end(
    colour: Colour, upstream: Upstream, clock: FakeClock
) -> None:
    """Each death counts as a failed try: what kills its builder must not kill them all for ever."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=3)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    for _ in range(2):
        take_and_die(colour.cache, value.name)
        clock.advance(LEASE_S)
    upstream.is_broken = True
    async with Worker(colour.cache):
        await soon(lambda: upstream.n_read == 2, what="the last try")
        await soon(lambda: _has_no_try_left(value), what="its end")

    assert (await entry_of(value)).attempts == 3


async def _has_no_try_left(value: object) -> bool:
    return (await entry_of(value)).retry_at is None  # type: ignore[arg-type]  # of either colour
