"""What an outage costs: a read takes little longer than the function that is called in its place."""

import asyncio
import hashlib
import time
from collections.abc import Iterator

import pytest

from everfresh import Cache
from tests.redis_servers import RedisServer, redis_server

pytestmark = pytest.mark.uncounted

# A thousand reads, in ten rounds: the best of each kind is compared, since a machine is busy in bursts.
ROUNDS = [range(first, first + 100) for first in range(0, 1_000, 100)]
# About half a millisecond of work, as of a query that is answered from memory.
WORK = bytes(500_000)
# To read without a store takes a tenth of a millisecond beside it, and some more on a busy machine.
FACTOR = 3.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def work(number: int) -> str:
    """What is cached."""
    return hashlib.sha256(WORK + bytes(number)).hexdigest()


@pytest.fixture(params=["gone", "silent"])
def cache(request: pytest.FixtureRequest, server: RedisServer) -> Iterator[Cache]:
    """A cache whose server is gone, or silent, since one reader found out."""
    with Cache(server.url) as cache:
        if request.param == "gone":
            server.kill()
        else:
            server.pause()
        # One reader finds out.
        cache.cached(key="first:{number}")(work)(0)
        yield cache
        if request.param == "silent":
            server.resume()


def test_reads_cost_little_more_than_their_calls(cache: Cache) -> None:
    """Of a thousand, and of each a different one."""
    cached = cache.cached(work)
    plain_s, cached_s = [], []
    for numbers in ROUNDS:
        began = time.perf_counter()
        plain = [work(number) for number in numbers]
        plain_s.append(time.perf_counter() - began)

        began = time.perf_counter()
        found = [cached(number) for number in numbers]
        cached_s.append(time.perf_counter() - began)
        assert found == plain

    print(f"plain {min(plain_s):.3f} s, cached {min(cached_s):.3f} s")  # noqa: T201 - pytest shows it with -s
    assert min(cached_s) < FACTOR * min(plain_s)


async def test_coroutines_cost_little_more_than_their_calls(cache: Cache) -> None:
    """One after the other, and then all at once."""

    async def working(number: int) -> str:
        return work(number)

    cached = cache.cached(working)
    plain_s, cached_s, together_s = [], [], []
    for numbers in ROUNDS:
        began = time.perf_counter()
        plain = [await working(number) for number in numbers]
        plain_s.append(time.perf_counter() - began)

        began = time.perf_counter()
        found = [await cached(number) for number in numbers]
        cached_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        together = await asyncio.gather(*map(cached, numbers))
        together_s.append(time.perf_counter() - began)
        assert found == together == plain

    print(f"plain {min(plain_s):.3f} s, cached {min(cached_s):.3f} s, together {min(together_s):.3f} s")  # noqa: T201
    assert max(min(cached_s), min(together_s)) < FACTOR * min(plain_s)
