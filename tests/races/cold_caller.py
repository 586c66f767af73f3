"""A process that calls a cached function five times at once, together with others.

usage: cold_caller.py URL LOG N_CALLERS COLOUR BODY_S LEASE_S

The function takes BODY_S seconds, from when every caller of every process has come. What happens is said in the log.
"""

import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from everfresh import Cache
from everfresh.testing.waiting import until

url, log_name, n_callers, colour, body_s, lease_s = sys.argv[1:]
log = Path(log_name)
N_CALLS = 5


def say(word: str) -> None:
    """Append a line; short ones are written whole."""
    with log.open("a") as file:
        file.write(f"{word}\n")


def build() -> int:
    """The value, after a while."""
    say(f"built:{os.getpid()}")
    until(lambda: log.read_text().count("came") >= int(n_callers), what="all callers")
    ends_at = time.monotonic() + float(body_s)
    until(lambda: time.monotonic() >= ends_at - float(body_s) / 2, what="the first half")
    say(f"half:{os.getpid()}")
    until(lambda: time.monotonic() >= ends_at, what="the second half")
    return 42


with Cache(url, lease=timedelta(seconds=float(lease_s))) as cache:

    @cache.cached(key="blocking")
    def answer() -> int:
        """The value, for blocking code."""
        return build()

    @cache.cached(key="asyncio")
    async def answer_async() -> int:
        """The value, for asyncio."""
        return await asyncio.to_thread(build)

    def call(_: int) -> None:
        """One caller."""
        say("came")
        say(f"got:{answer()}")

    async def call_async() -> None:
        """One caller, in an event loop."""
        say("came")
        say(f"got:{await answer_async()}")

    async def call_together() -> None:
        """All of this process."""
        async with asyncio.TaskGroup() as callers:
            for _ in range(N_CALLS):
                callers.create_task(call_async())

    if colour == "blocking":
        with ThreadPoolExecutor(N_CALLS) as pool:
            list(pool.map(call, range(N_CALLS)))
    else:
        asyncio.run(call_together())
