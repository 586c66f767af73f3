"""The process that is killed: changes the truth, publishes that, and refreshes; halts at each request until told to go.

It says one line for each moment, `before Commit`, `after Commit`, and waits for a line on its standard input.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from everfresh import Cache
from everfresh.cache.drivers import BlockingDriver
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.reading import attempt
from everfresh.protocol.requests import UNLIMITED, Request
from everfresh.testing.passing import PassingStore
from tests.crash.shop import Shop

A = TypeVar("A")


class Halting(PassingStore):
    """A store that halts before and after each step."""

    def carry_out(self, request: Request[A]) -> A:
        halt(f"before {type(request).__name__}")
        answer = super().carry_out(request)
        halt(f"after {type(request).__name__}")
        return answer

    async def carry_out_async(self, request: Request[A]) -> A:
        return self.carry_out(request)


def halt(moment: str) -> None:
    """Say where we are, and wait."""
    sys.stdout.write(f"{moment}\n")
    sys.stdout.flush()
    sys.stdin.readline()


def refresh_all(cache: Cache) -> None:
    """Do what a worker does, in this thread, until nothing is due."""
    engine = cache.engine
    driver = BlockingDriver(engine, revalidate=lambda call: None)
    request: TakeDue = TakeDue(dict.fromkeys(engine.functions, UNLIMITED), 1, lease_s=0.3)
    while due := engine.store.carry_out(request).due:
        for one in due:
            call: Any = engine.resolve(one.lease.key, one.recipe)
            driver.run(attempt(call, one.lease))


def main() -> None:
    """Change, publish, refresh."""
    store, truth, prices = sys.argv[1:]
    with Cache(f"sqlite:///{store}", lease=timedelta(seconds=0.3), near=0) as cache:
        shop = Shop(cache, Path(truth))
        cache.engine.store = Halting(cache.engine.store)
        halt("begun")
        events = shop.change([int(price) for price in prices.split(",")])
        cache.blocking.publish(*events)
        halt("published")
        refresh_all(cache)
        halt("refreshed")


if __name__ == "__main__":
    main()
