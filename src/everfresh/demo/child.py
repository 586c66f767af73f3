"""The tracker as a child process that cannot outlive us."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from typing import cast

from everfresh.demo.server import NotStarted

# Starting Python and filling the database takes half a second; a loaded machine gets twenty times that.
START_S = 10.0
# The tracker lets go of its answers and is gone in 0.3 s; after this it is killed.
STOP_S = 1.0


@contextlib.asynccontextmanager
async def tracker_process(*, delay_s: float, webhook: str) -> AsyncGenerator[str]:
    """The address of a tracker in a process of its own, while the block runs.

    It has its own process group, so that Ctrl-C reaches us alone and we end it in order. Should we be killed, its
    standard input closes, and it ends by itself.

    Raises:
        NotStarted: it did not come up; it has said why on standard error.
    """
    command = ["-m", "everfresh.demo.tracker", "--delay", str(delay_s), "--webhook", webhook, "--stop-with-parent"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    try:
        yield await _address_said_by(process)
    finally:
        await _stop(process)


async def _address_said_by(process: Process) -> str:
    lines = cast(asyncio.StreamReader, process.stdout)  # it was asked for with PIPE
    try:
        line = await asyncio.wait_for(lines.readline(), START_S)
    except TimeoutError as exc:
        raise NotStarted(f"the tracker said nothing for {START_S:g} s.") from exc
    if not line:
        raise NotStarted("the tracker ended while starting; the reason is above.")
    return line.decode().split()[-1]


async def _stop(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended this very moment
            process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
