"""Start the tracker: `python -m everfresh.demo.tracker --port 8100 --delay 1.5 --webhook URL`."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time

from everfresh.demo.output import complain, say
from everfresh.demo.server import PortInUse, Server, address_of, listen, serving
from everfresh.demo.tracker.announce import Announcer
from everfresh.demo.tracker.api import Slowness, create_tracker
from everfresh.demo.tracker.storage import Storage


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m everfresh.demo.tracker", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one (default)")
    parser.add_argument("--db", default=":memory:", help="a SQLite file, filled when it is new (default: in memory)")
    parser.add_argument("--delay", type=float, default=1.5, help="seconds per answer, give or take a third (1.5)")
    parser.add_argument("--webhook", help="where each change is posted; without it nothing is announced")
    parser.add_argument("--seed", type=int, default=4, help="which issues (4)")
    parser.add_argument("--stop-with-parent", action="store_true", help="end when standard input is closed")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGINT, SIGTERM, or the parent is gone.

    Raises:
        PortInUse: the port is taken.
    """
    listener = listen(options.port)
    rng = random.Random(options.seed)  # noqa: S311 - jitter, nothing secret
    storage = Storage(options.db, seed=options.seed, now=time.time())
    slowness = Slowness(options.delay, rng=rng)
    announcer = Announcer(storage, options.webhook, rng=rng) if options.webhook else None
    server = Server(create_tracker(storage, slowness, announcer), drain=slowness.end)
    stopped = _stop_asked_for(with_parent=options.stop_with_parent)
    async with serving(server, listener):
        say(f"tracker listens on {address_of(listener)}")
        await stopped.wait()
    storage.close()


def _stop_asked_for(*, with_parent: bool) -> asyncio.Event:
    """Set by SIGINT or SIGTERM, and when standard input ends: a pipe from the parent closes however it dies."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if with_parent:
        stdin = sys.stdin.fileno()

        def read_or_stop() -> None:
            if not os.read(stdin, 1024):
                loop.remove_reader(stdin)
                stopped.set()

        loop.add_reader(stdin, read_or_stop)
    return stopped


def main() -> int:
    """Run the tracker; the exit code."""
    try:
        asyncio.run(serve(parsed(sys.argv[1:])))
    except PortInUse as exc:
        complain(str(exc), who="tracker")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
