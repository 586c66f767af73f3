"""Keeping: processes that serve one address side by side, each of which is started again when it ends.

    open:    the address is had                             else exit code 4
    live:    n processes, and health                        one that never starts ends all, with its exit code
    ending:  SIGTERM to each; whoever is left is killed

- Each has a socket of its own, so that a process that dies takes no connection with it but its own (`listening`).
- A process that ends, whatever for, is started again: at once at first, then after longer and longer pauses, until one
  has lived for a while. One that says nothing any more is killed, and so ends too.
- Without its parent a process ends in order: it sees the end of their stream.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from everfresh.asgi import Receive, Scope, Send
from everfresh.cli.ending import Ending
from everfresh.cli.health import ANSWER_S, QUIET_S, probed
from everfresh.cli.listening import Address, CannotListen, address_of, can_share, listen, reserve, url_of
from everfresh.cli.notifying import ALIVE, READY, STOPPING, notify, watchdog_s
from everfresh.cli.places import Link, Place, Report
from everfresh.cli.supervising import BROKEN, HEALTH_GRACE_S, NO_ADDRESS, refused
from everfresh.model.clock import fair_dice

_log = logging.getLogger("everfresh.process")

# A process that has ended by itself is told after this, and one that hangs is killed.
_LATER_S = 0.15
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
# Whoever has lived for so long has not ended because of how it began.
_GOOD_LIFE_S = 10.0
# It may wait for its store before it answers.
_ASK_S = ANSWER_S + 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What to keep: so many processes of this command line, which serve there.

    Each is asked how it is every `ask_every_s`, and killed when it says nothing for `quiet_s`.
    """

    n: int
    arguments: Sequence[str]
    listen: Address
    health: Address | None = None
    grace_s: int = 1
    quiet_s: float = QUIET_S
    ask_every_s: float = 5.0


def keep(kept: Kept) -> int:
    """Keep the processes until SIGTERM or SIGINT; give the exit code."""
    with asyncio.Runner() as runner:
        code = runner.run(_live(kept))
    gc.freeze()  # as in `supervise`
    return code


def pause_s(n_short_lives: int, roll: float) -> float:
    """How long to wait before a process is started again, after so many in a row that ended soon; at once at first."""
    if not n_short_lives:
        return 0.0
    longest_s = min(_FIRST_PAUSE_S * 2.0 ** min(n_short_lives - 1, 32), _LONGEST_PAUSE_S)
    return longest_s * (1 + roll) / 2


async def _live(kept: Kept) -> int:
    pids: set[int] = set()
    ending = Ending(grace_s=kept.grace_s + _LATER_S, at_cut=lambda: _kill(pids))
    ending.heed_signals()
    with ExitStack() as stack:
        try:
            web = stack.enter_context(reserve(kept.listen) if can_share() else listen(kept.listen))
            health = None if kept.health is None else stack.enter_context(listen(kept.health))
        except CannotListen as error:
            ending.ask("refused", refused(NO_ADDRESS, error))
            return NO_ADDRESS
        await _Keeper(kept, ending, web, pids).live(health)
    _log.info("processes.stopped %s", {"code": ending.code})
    return ending.code


def _told(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _kill(pids: set[int]) -> None:
    for pid in tuple(pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass(slots=True)
class _Child:
    """A process that runs."""

    number: int
    process: asyncio.subprocess.Process
    link: Link
    began_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def has_lived_well(self) -> bool:
        """Whether it was there for a while."""
        return self.link.started.is_set() and asyncio.get_running_loop().time() - self.began_at >= _GOOD_LIFE_S


class _Keeper:
    """The processes while they live."""

    def __init__(self, kept: Kept, ending: Ending, web: socket.socket, pids: set[int]) -> None:
        self._kept = kept
        self._ending = ending
        self._web = web
        self._pids = pids
        self._children: dict[int, _Child] = {}
        self._starting = set(range(1, kept.n + 1))
        self._is_over = asyncio.Event()

    async def live(self, health: socket.socket | None) -> None:
        """Start the processes, and end when they have."""
        asked_at = {} if health is None else {"health": url_of(health)}
        _log.info("processes.started %s", {"n": self._kept.n, **asked_at})
        async with asyncio.TaskGroup() as beside:
            beside.create_task(self._tell_the_end())
            beside.create_task(self._mind())
            if (every_s := watchdog_s()) is not None:
                beside.create_task(self._beat(every_s / 2))
            if health is not None:
                beside.create_task(self._answer(health))
            async with asyncio.TaskGroup() as group:
                for number in range(1, self._kept.n + 1):
                    group.create_task(self._keep(number))
            self._is_over.set()

    async def report(self) -> Report:
        """How they are together: one that can be asked is enough, and what is wrong with the others is told too."""
        reports = await asyncio.gather(*(self._report(number) for number in range(1, self._kept.n + 1)))
        told = [[f"process {n}: {why}" for why in one.reasons] for n, one in enumerate(reports, 1)]
        missing = [f"process {n}: {what}" for n, one in enumerate(reports, 1) for what in one.degraded]
        reasons = [why for one in told for why in one]
        if self._ending.asked.is_set():
            return Report(reasons=["stopping", *reasons])
        if all(told):
            return Report(reasons=reasons, degraded=missing)
        return Report(reasons=[], degraded=[*reasons, *missing])

    async def _report(self, number: int) -> Report:
        child = self._children.get(number)
        if child is None or not child.link.started.is_set():
            return Report(reasons=["starting"])
        try:
            return await child.link.ask(within_s=_ASK_S)
        except TimeoutError:
            return Report(reasons=[f"no answer within {_ASK_S:g} s"])

    # ------------------------------------------------------------------------------------------------- one process

    async def _keep(self, number: int) -> None:
        """Have a process at this place until the end is asked for."""
        n_short_lives = 0
        while not self._ending.asked.is_set():
            lived_well = False
            try:
                child = await self._begun(number)
            except OSError as error:
                code, how = BROKEN, str(error)
            else:
                code = await self._lived(child)
                lived_well, how = child.has_lived_well(), _told(code)
            n_short_lives = 0 if lived_well else n_short_lives + 1
            if self._ending.asked.is_set():
                # A negative one is the signal that it was ended by.
                self._ending.code = self._ending.code or max(code, 0)
            elif number in self._starting:
                self._ending.ask(f"process {number} did not start: {how}", code if code > 0 else BROKEN)
            else:
                wait_s = pause_s(n_short_lives, fair_dice())
                _log.warning("processes.lost %s", {"number": number, "how": how, "again_in_s": round(wait_s, 3)})
                await self._or_asked(wait_s)

    async def _begun(self, number: int) -> _Child:
        mine, its = socket.socketpair()
        address = address_of(self._web)
        place = Place(
            number=number,
            host=address.host,
            port=address.port,
            channel=its.fileno(),
            listener=None if can_share() else self._web.fileno(),
        )
        # Closed here, so that the stream ends when the process is gone.
        with its:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "everfresh", *self._kept.arguments),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=place.environment(),
                    pass_fds=place.descriptors(),
                )
            except OSError:
                mine.close()
                raise
        self._pids.add(process.pid)
        child = self._children[number] = _Child(number, process, Link(mine))
        return child

    async def _lived(self, child: _Child) -> int:
        """Wait until it has ended, and have it end when that is asked for; its exit code."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(part) for part in (child.link.listen(), self._welcome(child), self._dismiss(child))
            ]
            code = await child.process.wait()
            self._pids.discard(child.process.pid)
            for task in beside:
                task.cancel()
        del self._children[child.number]
        return code

    async def _welcome(self, child: _Child) -> None:
        await child.link.started.wait()
        if child.number in self._starting:
            self._starting.discard(child.number)
            if not self._starting:
                notify(READY)
                _log.info("processes.ready %s", {"web": url_of(self._web), "n": self._kept.n})
        else:
            _log.info("processes.again %s", {"number": child.number, "child": child.process.pid})

    async def _dismiss(self, child: _Child) -> None:
        await self._ending.asked.wait()
        with suppress(ProcessLookupError):
            child.process.terminate()

    async def _or_asked(self, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ending.asked.wait()

    # ----------------------------------------------------------------------------------------------------- beside

    async def _mind(self) -> None:
        """Kill whoever says nothing any more: only another process helps."""
        loop = asyncio.get_running_loop()
        while not self._ending.asked.is_set():
            await self._or_asked(self._kept.ask_every_s)
            await self.report()
            for child in tuple(self._children.values()):
                quiet_s = loop.time() - child.link.heard_at
                if child.link.started.is_set() and quiet_s > self._kept.quiet_s:
                    _log.error("processes.stuck %s", {"number": child.number, "quiet_s": round(quiet_s)})
                    with suppress(ProcessLookupError):
                        child.process.kill()

    async def _answer(self, health: socket.socket) -> None:
        from everfresh.cli.serving import Server  # noqa: PLC0415 - needs an extra

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await probed(scope, receive, send, self._nothing, self.report)

        await Server(app, until=self._is_over, grace_s=HEALTH_GRACE_S).serve(sockets=[health])

    async def _nothing(self) -> Report:
        return Report(reasons=[])

    async def _tell_the_end(self) -> None:
        await self._ending.asked.wait()
        notify(STOPPING)
        _log.info("processes.stopping %s", {"why": self._ending.why, "code": self._ending.code})

    async def _beat(self, every_s: float) -> None:
        while not self._is_over.is_set():
            notify(ALIVE)
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._is_over.wait()
