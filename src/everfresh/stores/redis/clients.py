"""The driver's clients of one server: a blocking one for all threads, and one for each event loop.

A Cluster's nodes are servers like any other: see `nodes`.

Rules
- A client of an event loop is closed when the loop ends, as loops end the generators that were begun in them. It cannot
  be closed later: closing a connection takes a loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple, cast

from redis import exceptions

from everfresh.model.errors import StoreClosed
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.driving import BLOCKING, OF_LOOP, TIMEOUT_S, made, removed
from everfresh.stores.redis.failures import DRIVER_ERRORS, is_forbidden, is_function_missing
from everfresh.stores.redis.glimpse import Told
from everfresh.stores.redis.hearing import Ear
from everfresh.stores.redis.identity import Identity
from everfresh.stores.redis.packets import Packets, command_of
from everfresh.stores.redis.reading import Lines
from everfresh.stores.redis.scripts import Script, library

_CLOSE_S = 2.0
CLOSED = "The cache was closed. Use it within its `with` block."
# Another process may be loading the same.
_LOAD = ("FUNCTION LOAD", "REPLACE")

Reply = list[bytes]


class BlockingClient:
    """Runs scripts; safe from every thread."""

    def __init__(self, address: Address, identity: Identity) -> None:
        self._address = address
        self._identity = identity
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._is_closed = False
        self._has_functions = True
        self._loading = threading.Lock()
        self._n_loaded = 0

    def run(self, script: Script, key: str, arguments: Sequence[bytes], *, is_look: bool = False) -> Reply:
        """The step's reply; only one that looks at the server is carried out by any. Raises the driver's errors."""
        n_loaded = self._n_loaded
        if self._has_functions:
            try:
                return self._call(key, arguments, "FCALL", script.function, is_look=is_look)
            except exceptions.ResponseError as error:
                if is_forbidden(error):
                    self._has_functions = False
                elif not is_function_missing(error):
                    raise
            if self._has_functions and self._load(n_loaded):
                return self._call(key, arguments, "FCALL", script.function, is_look=is_look)
        try:
            return self._call(key, arguments, "EVALSHA", script.sha, is_look=is_look)
        except exceptions.NoScriptError:
            # To send the text makes it known.
            return self._call(key, arguments, "EVAL", script.text, is_look=is_look)

    def command(self, script: Script, key: str, arguments: Sequence[bytes]) -> bytes:
        """The step as it is sent first, for whoever sends several at once."""
        return _command(script, key, arguments, has_functions=self._has_functions)

    @property
    def lines(self) -> Lines:
        """Its connections, for whoever sends several commands at once."""
        return self._open().lines

    def connection(self) -> Any:  # noqa: ANN401 - as above
        """One of the driver's connections, for whoever waits on several; they are closed with the client."""
        return self._open().client.connection_pool.get_connection()

    def _call(self, key: str, arguments: Sequence[bytes], *names: str, is_look: bool) -> Reply:
        opened = self._open()
        if is_look:
            return cast("Reply", opened.client.execute_command(*names, 1, key, *arguments))
        (reply,) = opened.lines.ask(command_of((*names, "1"), (key.encode(), *arguments)))
        return cast("Reply", reply)

    def _load(self, n_loaded: int) -> bool:
        """Make the library known to the server, if we may: a new one, or one that was told to forget.

        Not if that was done since there were so many: the server compiles it each time, and many ask at once.
        """
        with self._loading:
            if self._n_loaded != n_loaded:
                return self._has_functions
            try:
                self._open().client.execute_command(*_LOAD, library().text)
            except exceptions.OutOfMemoryError:
                # A library is data to it, and a script is not.
                return False
            except exceptions.ResponseError as error:
                if not is_forbidden(error):
                    raise
                self._has_functions = False
            self._n_loaded += 1
        return self._has_functions

    def ask(self, question: bytes) -> Told:
        """The replies to a glimpse's question. Raises the driver's errors."""
        time_told, found = self._open().lines.ask(question, 2)
        return time_told, found

    def hear(self, stream: bytes, after: bytes, wait_s: float) -> Sequence[Any]:
        """See `Ear.hear`; for one thread."""
        return self._open().ear.hear(stream, after, wait_s)

    def start_over(self) -> None:
        """What is heard of the stream from now on has nothing to do with what was before."""
        self._open().ear.forget()

    def info(self, key: str) -> dict[str, Any]:  # noqa: ARG002 - as that of a Cluster
        """What the server says of itself."""
        return cast("dict[str, Any]", self._open().client.execute_command("INFO"))

    def remove(self, pattern: str) -> int:
        """Remove all keys whose names match; how many there were. For who is alone here."""
        return removed(self._open().client, pattern)

    def forget_idle(self) -> None:
        """Close the connections that nobody uses: where one was cut, they all may be."""
        opened = self._open()
        opened.client.connection_pool.disconnect(inuse_connections=False)
        opened.lines.forget_idle()

    def close(self) -> None:
        """Close all connections; repeating is safe."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, None
        if opened is not None:
            for client in (opened.client, *opened.helpers):
                with suppress(*DRIVER_ERRORS):
                    client.close()

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is not None:
            return opened
        with self._lock:
            if self._is_closed:
                # By another thread, since it was looked whether it is.
                raise StoreClosed(CLOSED)
            if self._opened is None:
                client, helpers = made(BLOCKING, self._address, self._identity.greet)
                lines = Lines(client, self._identity)
                self._opened = _Opened(client, helpers, lines, Ear(lines, self._identity))
            return self._opened


class _Opened(NamedTuple):
    """The driver's client, those that it asks where the server is, and the lines; the driver's share no type."""

    client: Any
    helpers: Sequence[Any]
    lines: Lines
    ear: Ear


def _command(script: Script, key: str, arguments: Sequence[bytes], *, has_functions: bool) -> bytes:
    names = ("FCALL", script.function, "1") if has_functions else ("EVALSHA", script.sha, "1")
    return command_of(names, (key.encode(), *arguments))


class LoopClient:
    """Runs scripts in one event loop."""

    def __init__(self, address: Address, identity: Identity) -> None:
        self._client, self._helpers = made(OF_LOOP, address, identity.greet_async)
        self._has_functions = True
        self._loading = asyncio.Lock()
        self._n_loaded = 0
        self._packets = Packets(self._client, TIMEOUT_S, identity)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._is_closed = False
        self._end: AsyncGenerator[None] | None = None

    async def run(self, script: Script, key: str, arguments: Sequence[bytes]) -> Reply:
        """The step's reply. Raises the driver's errors."""
        if not self._is_open:
            await self._open()
        n_loaded = self._n_loaded
        if self._has_functions:
            try:
                return await self._call(key, arguments, "FCALL", script.function)
            except exceptions.ResponseError as error:
                if is_forbidden(error):
                    self._has_functions = False
                elif not is_function_missing(error):
                    raise
            if self._has_functions and await self._load(n_loaded):
                return await self._call(key, arguments, "FCALL", script.function)
        try:
            return await self._call(key, arguments, "EVALSHA", script.sha)
        except exceptions.NoScriptError:
            return await self._call(key, arguments, "EVAL", script.text)

    def command(self, script: Script, key: str, arguments: Sequence[bytes]) -> bytes:
        """The step as it is sent first, for whoever sends several at once."""
        return _command(script, key, arguments, has_functions=self._has_functions)

    async def send(self, commands: bytes, n_replies: int) -> list[Any]:
        """The replies to commands that travel together. Raises the driver's errors."""
        if not self._is_open:
            await self._open()
        return await self._packets.ask(commands, n_replies)

    async def ask(self, question: bytes) -> Told:
        """The replies to a glimpse's question. Raises the driver's errors."""
        time_told, found = await self.send(question, 2)
        return time_told, found

    async def run_with(
        self, script: Script, key: str, arguments: Sequence[bytes], questions: Sequence[bytes]
    ) -> tuple[Reply, Sequence[Told]]:
        """The step's reply, and those to the questions of glimpses behind it; none where there are difficulties."""
        commands = b"".join([self.command(script, key, arguments), *questions])
        try:
            reply, *told = await self.send(commands, 1 + 2 * len(questions))
        except exceptions.ResponseError:
            # It may have to be told first what the step is.
            return await self.run(script, key, arguments), ()
        return cast("Reply", reply), list(zip(told[::2], told[1::2], strict=True))

    async def _call(self, key: str, arguments: Sequence[bytes], *names: str) -> Reply:
        (reply,) = await self._packets.ask(command_of((*names, "1"), (key.encode(), *arguments)))
        return cast("Reply", reply)

    async def _load(self, n_loaded: int) -> bool:
        async with self._loading:
            if self._n_loaded != n_loaded:
                return self._has_functions
            try:
                await self._client.execute_command(*_LOAD, library().text)
            except exceptions.OutOfMemoryError:
                # A library is data to it, and a script is not.
                return False
            except exceptions.ResponseError as error:
                if not is_forbidden(error):
                    raise
                self._has_functions = False
            self._n_loaded += 1
        return self._has_functions

    async def forget_idle(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(*DRIVER_ERRORS):
            await self._client.connection_pool.disconnect(inuse_connections=False)
        with suppress(*DRIVER_ERRORS):
            await self._packets.forget_idle()

    async def close(self) -> None:
        """Close all connections; repeating is safe."""
        self._is_closed = True
        for client in (self._client, *self._helpers):
            with suppress(*DRIVER_ERRORS):
                await client.aclose()

    async def _open(self) -> None:
        async with self._opening:
            if self._is_open:
                return
            self._end = self._until_loop_ends()
            await anext(self._end)
            self._is_open = True

    async def _until_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.close()


class Clients:
    """All clients of one server."""

    def __init__(self, address: Address, name: str = "") -> None:
        self._address = address
        self.name = name
        """What the driver calls it, if it is a node of a Cluster."""
        self._lock = threading.Lock()
        self._of_loop: dict[asyncio.AbstractEventLoop, LoopClient] = {}
        self._is_closed = False
        self.identity = Identity()
        """Which run of the server was looked at."""
        self.blocking = BlockingClient(address, self.identity)
        """For whoever has no event loop."""

    def of_loop(self) -> LoopClient:
        """The running event loop's own."""
        loop = asyncio.get_running_loop()
        found = self._of_loop.get(loop)
        if found is None:
            with self._lock:
                if self._is_closed:
                    raise StoreClosed(CLOSED)
                # A client holds its loop; those of loops that have ended are let go here.
                self._of_loop = {other: client for other, client in self._of_loop.items() if not other.is_closed()}
                found = self._of_loop[loop] = LoopClient(self._address, self.identity)
        return found

    def another(self) -> BlockingClient:
        """Connections that somebody has to himself, and closes."""
        return BlockingClient(self._address, self.identity)

    def follower(self) -> BlockingClient:
        """Those of a follower: to close them ends its wait, and nobody else's."""
        return self.another()

    def retire(self) -> None:
        """Close what nobody uses: nobody is sent here any more."""
        self.blocking.forget_idle()
        with self._lock:
            clients = dict(self._of_loop)
        for loop, client in clients.items():
            _begin_in(loop, client.forget_idle())

    def close(self) -> None:
        """Close all connections; repeating is safe."""
        self.blocking.close()
        with self._lock:
            self._is_closed = True
            clients, self._of_loop = self._of_loop, {}
        for loop, client in clients.items():
            _close_in(loop, client)


def _close_in(loop: asyncio.AbstractEventLoop, client: LoopClient) -> None:
    # One that has ended has closed its client; one that goes on later closes it when it ends.
    closed = _begin_in(loop, client.close())
    if closed is not None and not _is_in(loop):
        with suppress(TimeoutError, asyncio.CancelledError):
            closed.result(_CLOSE_S)


def _begin_in(loop: asyncio.AbstractEventLoop, closing: Coroutine[Any, Any, None]) -> Future[None] | None:
    """Have it done by the loop; None if that does not run."""
    try:
        if loop.is_running():
            return asyncio.run_coroutine_threadsafe(closing, loop)
    except RuntimeError:
        # It has ended just now.
        pass
    closing.close()
    return None


def _is_in(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
