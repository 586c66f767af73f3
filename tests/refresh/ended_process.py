"""A worker in a process of its own, wired to SIGTERM as the documentation says."""

import asyncio
import signal
import sys
import threading
from datetime import timedelta

from everfresh import Cache
from everfresh.refresh import Worker
from tests.refresh.lingering import HOUR, declare, say


async def serve(cache: Cache, grace: timedelta) -> None:
    """Until SIGTERM, with an event loop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with cache, Worker(cache, grace=grace):
        say("ready")
        await stop.wait()
        say("told to end")


def serve_blocking(cache: Cache, grace: timedelta) -> None:
    """The same without one."""

    def end(*_: object) -> None:
        say("told to end")
        raise SystemExit

    signal.signal(signal.SIGTERM, end)
    with cache, Worker(cache, grace=grace).in_thread():
        say("ready")
        nothing = threading.Event()
        while True:
            # A signal that came just before it is heard after it; signal.pause() would wait for another.
            nothing.wait(0.1)


if __name__ == "__main__":
    kind, url, grace_s = sys.argv[1:]
    made = Cache(url, lease=HOUR)
    declare(made, waits=True)
    if kind == "asyncio":
        asyncio.run(serve(made, timedelta(seconds=float(grace_s))))
    else:
        serve_blocking(made, timedelta(seconds=float(grace_s)))
