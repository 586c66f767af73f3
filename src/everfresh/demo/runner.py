"""`everfresh demo`: everything at once, until Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import random
import signal
from collections.abc import Coroutine

from everfresh import EverfreshError
from everfresh.demo.autopilot import fly
from everfresh.demo.hub import running
from everfresh.demo.output import complain, say
from everfresh.demo.server import loop_factory
from everfresh.demo.settings import DemoSettings
from everfresh.demo.terminal import Reporter

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(settings: DemoSettings) -> int:
    """Serve the demo until Ctrl-C or SIGTERM, and return the exit code: 0, or 1 if it could not start."""
    return until_stopped(_serve(settings), code_if_stopped=0)


def until_stopped(main: Coroutine[None, None, int], *, code_if_stopped: int) -> int:
    """Run `main` in an event loop of its own, and return its exit code. The first SIGINT or SIGTERM cancels it.

    It ends in order, in bounded time, so a second signal has nothing to add. An error that Everfresh raises on
    purpose becomes one line and exit code 1.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            code = runner.run(_cancelled_by_signals(main))
    except EverfreshError as exc:
        complain(str(exc))
        return 1
    return code_if_stopped if code is None else code


async def _cancelled_by_signals(main: Coroutine[None, None, int]) -> int | None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)

    def stop() -> None:
        for number in SIGNALS:
            loop.add_signal_handler(number, _ignore)
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def _serve(settings: DemoSettings) -> int:
    reporter = Reporter(is_quiet=settings.quiet)
    say(f"everfresh demo: starting the tracker and asking it everything once ({settings.upstream_delay:g} s an answer)")
    async with running(settings, on_sent=reporter.sent) as demo, reporter.reporting(demo):
        # What is loaded by now stays to the end. Else Python looks through all of it once in a while, 40 ms each time,
        # and a page load that falls into that is ten times slower than the others.
        gc.collect()
        gc.freeze()
        say(f"everfresh demo: open {demo.url}/design-team  (the tracker is {demo.tracker_url}; Ctrl-C ends both)")
        if settings.autopilot:
            rng = random.Random()  # noqa: S311 - which issue changes next is no secret
            await fly(demo.tracker_url, every_s=settings.autopilot_every_s, rng=rng, report=complain)
        await asyncio.Event().wait()
    return 0


def _ignore() -> None:
    """The end is under way."""
