"""Supervising: a process made of parts, of which none outlives the others.

    open:   the sockets listen, the store answers            else exit code 4, or 3
    live:   health | consumers | worker | web, side by side  a part that breaks asks for the end, exit code 1
    ending: all but health at once; then the application's own shutdown; then health; then the cache is closed

A store, or a source, that does not answer for a while breaks no part: each goes on as soon as it does.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from everfresh._version import __version__
from everfresh.cache import Cache
from everfresh.cache.secrets import told_of
from everfresh.cli.ending import Ending
from everfresh.cli.health import Health
from everfresh.cli.listening import Address, CannotListen, listen, raise_limit, share, url_of
from everfresh.cli.notifying import ALIVE, READY, STOPPING, notify, watchdog_s
from everfresh.cli.places import Parent, Place
from everfresh.cli.streams import App, Streams
from everfresh.model.errors import StoreError
from everfresh.refresh import Worker
from everfresh.sources.consuming import Consumer

_log = logging.getLogger("everfresh.process")

BROKEN, NO_STORE, NO_ADDRESS = 1, 3, 4
"""Exit codes, beside 0 for an end that was asked for and 2 for a command line that cannot be used."""

HEALTH_GRACE_S = 1
"""Probes are answered at once; whoever holds a connection open for longer is none."""

# A lease a millisecond, when the store is well.
_GIVING_BACK_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a process is to do: refresh with that concurrency, consume those sources, serve that application there.

    With a `place` it serves beside others, and its parent asks for its health.
    """

    cache: Cache
    concurrency: int | None = None
    sources: tuple[Consumer, ...] = ()
    app: App | None = None
    listen: Address | None = None
    health: Address | None = None
    grace_s: int = 1
    place: Place | None = None


class PartEnded(Exception):
    """A part has ended by itself, though nobody asked for it."""


def supervise(program: Program) -> int:
    """Do it until SIGTERM, SIGINT or the end of a part; give the exit code."""
    if program.app is not None:
        raise_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_live(program))
    # Python would look for garbage once more, through all that there is, while somebody waits for the end.
    gc.freeze()
    return code


def refused(code: int, error: Exception) -> int:
    """Log that the process does not start, and give the exit code."""
    _log.error("process.refused %s", {"error": told_of(error), "code": code})
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop where it is installed, else asyncio's own."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # noqa: PLC0415 - an extra

    return uvloop.new_event_loop


async def _live(program: Program) -> int:
    ending = Ending(grace_s=program.grace_s)
    ending.heed_signals()
    async with program.cache:
        with ExitStack() as stack:
            try:
                web = _web_of(stack, program)
                health = None if program.health is None else stack.enter_context(listen(program.health))
                await program.cache.position()
            except (CannotListen, StoreError) as error:
                code = NO_ADDRESS if isinstance(error, CannotListen) else NO_STORE
                ending.ask("refused", refused(code, error))
                return code
            await _Process(program, ending).live(web, health)
    _log.info("process.stopped %s", {"code": ending.code})
    return ending.code


def _web_of(stack: ExitStack, program: Program) -> socket.socket | None:
    if program.app is None or program.listen is None:
        return None
    place = program.place
    if place is None:
        made = listen(program.listen)
    elif place.listener is None:
        made = share(Address(place.host, place.port))
    else:
        made = socket.socket(fileno=place.listener)
    return stack.enter_context(made)


class _Process:
    """The parts of a process while they live."""

    def __init__(self, program: Program, ending: Ending) -> None:
        self._program = program
        self._ending = ending
        self._health = Health(
            program.cache, ending.asked, is_serving=program.app is not None, is_consuming=bool(program.sources)
        )
        self._addresses: dict[str, str] = {}
        self._parent = None if program.place is None else Parent(program.place.channel, self._health.report)
        self._has_no_worker = asyncio.Event()
        self._has_started = asyncio.Event()
        self._is_over = asyncio.Event()

    async def live(self, web: socket.socket | None, health: socket.socket | None) -> None:
        """Start the parts, and end when they have."""
        # From now on also in a process that only serves: its readers wait for what others build.
        self._program.cache.engine.follower.poll()
        parts = self._parts(web)
        asked_at = {} if health is None else {"health": url_of(health)}
        _log.info("process.started %s", {"parts": list(parts), "version": __version__, **asked_at})
        self._health.waits_for.update(parts)
        async with asyncio.TaskGroup() as beside:
            beside.create_task(self._tell_the_end())
            if (every_s := watchdog_s()) is not None:
                beside.create_task(self._beat(every_s / 2))
            if health is not None:
                beside.create_task(self._guarded("health", self._answer(health)))
            if self._parent is not None:
                beside.create_task(self._mind(self._parent))
            async with asyncio.TaskGroup() as group:
                for name, part in parts.items():
                    group.create_task(self._guarded(name, part))
            self._is_over.set()

    def _parts(self, web: socket.socket | None) -> dict[str, Coroutine[None, None, None]]:
        parts: dict[str, Coroutine[None, None, None]] = {}
        if self._program.concurrency is None:
            self._has_no_worker.set()
        else:
            parts["worker"] = self._work(self._program.concurrency)
        for source in self._program.sources:
            parts[f"source {source.name}"] = self._consume(source)
        if self._program.app is not None and web is not None:
            parts["web"] = self._serve(self._program.app, web)
        return parts

    async def _guarded(self, name: str, part: Coroutine[None, None, None]) -> None:
        """Carry the part out; when it breaks, all others end in order."""
        try:
            await self._to_its_end(part)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others have to end too
            _log.exception("process.crashed %s", {"part": name, "error": told_of(error)})
            self._ending.ask(f"{name} crashed", BROKEN)

    async def _to_its_end(self, part: Coroutine[None, None, None]) -> None:
        await part
        if not self._ending.asked.is_set():
            raise PartEnded("it ended by itself. Is the cache closed somewhere?")

    async def _work(self, concurrency: int) -> None:
        grace = timedelta(seconds=self._program.grace_s)
        try:
            async with Worker(self._program.cache, concurrency=concurrency, grace=grace) as worker:
                self._health.worker = worker
                self._started("worker")
                await _until(self._ending.asked, worker.supervise())
        finally:
            self._has_no_worker.set()

    async def _consume(self, source: Consumer) -> None:
        """What was taken from it and is not acknowledged at the end comes again."""
        self._started(f"source {source.name}")
        consumer = replace(source, grace=timedelta(seconds=self._program.grace_s))
        await _until(self._ending.asked, consumer.run(self._program.cache))

    async def _serve(self, app: App, listener: socket.socket) -> None:
        from everfresh.cli.serving import Server  # noqa: PLC0415 - needs an extra

        streams = Streams(app, self._given_back)
        self._addresses["web"] = url_of(listener)
        server = Server(
            streams,
            until=self._ending.asked,
            grace_s=self._program.grace_s,
            on_started=lambda: self._started("web"),
            at_end=streams.end,
        )
        await server.serve(sockets=[listener])

    async def _given_back(self) -> None:
        """What the application closes at its end, the cache say, the worker needs to give back what it holds."""
        with suppress(TimeoutError):
            # Threads that build on beyond the grace have lost their leases.
            async with asyncio.timeout(self._program.grace_s + _GIVING_BACK_S):
                await self._has_no_worker.wait()

    async def _answer(self, listener: socket.socket) -> None:
        from everfresh.cli.serving import Server  # noqa: PLC0415 - needs an extra

        await Server(self._health, until=self._is_over, grace_s=HEALTH_GRACE_S).serve(sockets=[listener])

    def _started(self, name: str) -> None:
        self._health.waits_for.discard(name)
        if not self._health.waits_for:
            notify(READY)
            _log.info("process.ready %s", self._addresses)
            self._has_started.set()

    async def _mind(self, parent: Parent) -> None:
        """Tell the parent how this process is, and end when there is none any more."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell_start(parent))
            await _until(self._is_over, parent.answer())
            telling.cancel()
        if not self._is_over.is_set():
            self._ending.lose_parent()

    async def _tell_start(self, parent: Parent) -> None:
        await self._has_started.wait()
        await parent.tell()

    async def _tell_the_end(self) -> None:
        await self._ending.asked.wait()
        notify(STOPPING)
        _log.info("process.stopping %s", {"why": self._ending.why, "code": self._ending.code})

    async def _beat(self, every_s: float) -> None:
        """Tell the service manager that this process lives, as long as it does."""
        while not self._is_over.is_set():
            if not self._health.dead():
                notify(ALIVE)
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._is_over.wait()


async def _until(asked: asyncio.Event, main: Coroutine[None, None, None]) -> None:
    """Carry `main` out until it ends, or until it is asked to."""
    running, stopped = asyncio.create_task(main), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        running.cancel()
        stopped.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)
