"""The driver's clients: a blocking one for all threads, and one for each event loop.

Rules
- The driver repeats nothing by itself: by its defaults it would run a script up to eleven times.
- A client of an event loop is closed when the loop ends, as loops end the generators that were begun in them. It cannot
  be closed later: closing a connection takes a loop.
- A loop's client holds at most so many connections; who comes later waits for one, first come, first served.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from everfresh.model.errors import StoreClosed
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.failures import DRIVER_ERRORS, is_forbidden, is_function_missing
from everfresh.stores.redis.glimpse import Told
from everfresh.stores.redis.identity import Identity
from everfresh.stores.redis.packets import Packets, command_of
from everfresh.stores.redis.reading import Lines
from everfresh.stores.redis.scripts import Script, library

# A step takes well under a millisecond; whoever reads is better served by the function than by waiting longer.
TIMEOUT_S = 2.0
_MAX_CONNECTIONS_OF_LOOP = 64
_CLOSE_S = 2.0
_N_SCANNED, _N_REMOVED = 1_000, 200
CLOSED = "The cache was closed. Use it within its `with` block."
# Another process may be loading the same.
_LOAD = ("FUNCTION LOAD", "REPLACE")
_NO_PACKETS = "a Cluster's client sends commands to nodes, and no packets"

Reply = list[bytes]


class BlockingClient:
    """Runs scripts; safe from every thread."""

    def __init__(self, address: Address, identity: Identity) -> None:
        self._address = address
        self._identity = identity
        self._lock = threading.Lock()
        self._opened: tuple[Any, Sequence[Any]] | None = None
        # Of a client that is open; a Cluster's has none.
        self._lines: Lines | None = None
        self._is_closed = False
        self._has_functions = True

    def run(self, script: Script, key: str, arguments: Sequence[bytes], *, is_look: bool = False) -> Reply:
        """The step's reply; only one that looks at the server is carried out by any. Raises the driver's errors."""
        if self._has_functions:
            try:
                return self._call(key, arguments, "FCALL", script.function, is_look=is_look)
            except exceptions.ResponseError as error:
                if is_forbidden(error):
                    self._has_functions = False
                elif not is_function_missing(error):
                    raise
            if self._has_functions and self._load(key):
                return self._call(key, arguments, "FCALL", script.function, is_look=is_look)
        try:
            return self._call(key, arguments, "EVALSHA", script.sha, is_look=is_look)
        except exceptions.NoScriptError:
            # To send the text makes it known.
            return self._call(key, arguments, "EVAL", script.text, is_look=is_look)

    def _call(self, key: str, arguments: Sequence[bytes], *names: str, is_look: bool) -> Reply:
        client = self._client()
        if is_look or self._lines is None:
            reply = client.execute_command(*names, 1, key, *arguments, **self._node_of(key))
            if not is_look:
                self._identity.check_node(key, client.get_node_from_key(key))
            return cast("Reply", reply)
        (reply,) = self._lines.ask(command_of((*names, "1", key), arguments))
        return cast("Reply", reply)

    def _load(self, key: str) -> bool:
        """Make the library known to the key's server, if we may: a new one, or one that was told to forget."""
        try:
            self._client().execute_command(*_LOAD, library().text, **self._node_of(key))
        except exceptions.ResponseError as error:
            if not is_forbidden(error):
                raise
            self._has_functions = False
        return self._has_functions

    def ask(self, question: bytes) -> Told:
        """The replies to a glimpse's question. Raises the driver's errors; a Cluster cannot be asked so."""
        self._client()
        if self._lines is None:
            raise RuntimeError(_NO_PACKETS)
        time_told, found = self._lines.ask(question, 2)
        return time_told, found

    def wait_for(self, stream: str, after: str, wait_ms: int) -> None:
        """Come back when the stream has an item after that one, at the latest after `wait_ms`."""
        read = ("XREAD", "BLOCK", wait_ms, "COUNT", 1, "STREAMS", stream, after)
        self._client().execute_command(*read, **self._node_of(stream))

    def info(self, key: str) -> dict[str, Any]:
        """What the server of the key says of itself."""
        of_node = self._node_of(key)
        if of_node:
            self._identity.note_node(key, of_node["target_nodes"])
        return cast("dict[str, Any]", self._client().execute_command("INFO", **of_node))

    def remove(self, pattern: str) -> int:
        """Remove all keys whose names match, wherever they stand; how many there were. For who is alone here."""
        client, n_removed = self._client(), 0
        names: list[bytes] = []
        for name in client.scan_iter(pattern, count=_N_SCANNED):
            names.append(name)
            if len(names) == _N_REMOVED:
                n_removed += client.unlink(*names)
                names = []
        return n_removed + (client.unlink(*names) if names else 0)

    def forget_idle(self) -> None:
        """Close the connections that nobody uses: where one was cut, they all may be."""
        if self._address.kind != "cluster":
            self._client().connection_pool.disconnect(inuse_connections=False)
            if self._lines is not None:
                self._lines.forget_idle()

    def close(self) -> None:
        """Close all connections; repeating is safe."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, None
        if opened is not None:
            for client in (opened[0], *opened[1]):
                with suppress(*DRIVER_ERRORS):
                    client.close()

    def _node_of(self, key: str) -> dict[str, Any]:
        """Which node of a Cluster is asked; it would not see by itself where a function's keys are."""
        return {"target_nodes": self._client().get_node_from_key(key)} if self._address.kind == "cluster" else {}

    def _client(self) -> Any:  # noqa: ANN401 - the driver's clients share no type
        if self._opened is None:
            with self._lock:
                # A Cluster's client asks the Cluster while it is made.
                if self._is_closed:
                    # By another thread, since it was looked whether it is.
                    raise StoreClosed(CLOSED)
                if self._opened is None:
                    opened = _made(_sync, self._address, self._identity.greet)
                    self._lines = None if self._address.kind == "cluster" else Lines(opened[0], self._identity)
                    self._opened = opened
        return self._opened[0]


class LoopClient:
    """Runs scripts in one event loop."""

    def __init__(self, address: Address, identity: Identity) -> None:
        self._kind = address.kind
        self._identity = identity
        self._client, self._helpers = _made(_async, address, identity.greet_async)
        self._has_functions = True
        # A Cluster's client opens a connection for each that asks at once; other commands share a few.
        self._free = asyncio.Semaphore(_MAX_CONNECTIONS_OF_LOOP)
        self._packets = None if self._kind == "cluster" else Packets(self._client, TIMEOUT_S, identity)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._is_closed = False
        self._end: AsyncGenerator[None] | None = None

    async def run(self, script: Script, key: str, arguments: Sequence[bytes]) -> Reply:
        """The step's reply. Raises the driver's errors."""
        if not self._is_open:
            await self._open()
        if self._has_functions:
            try:
                return await self._call(key, arguments, "FCALL", script.function)
            except exceptions.ResponseError as error:
                if is_forbidden(error):
                    self._has_functions = False
                elif not is_function_missing(error):
                    raise
            if self._has_functions and await self._load(key):
                return await self._call(key, arguments, "FCALL", script.function)
        try:
            return await self._call(key, arguments, "EVALSHA", script.sha)
        except exceptions.NoScriptError:
            return await self._call(key, arguments, "EVAL", script.text)

    async def ask(self, question: bytes) -> Told:
        """The replies to a glimpse's question. Raises the driver's errors; a Cluster cannot be asked so."""
        if not self._is_open:
            await self._open()
        if self._packets is None:
            raise RuntimeError(_NO_PACKETS)
        time_told, found = await self._packets.ask(question, 2)
        return time_told, found

    async def _call(self, key: str, arguments: Sequence[bytes], *names: str) -> Reply:
        if self._packets is not None:
            (reply,) = await self._packets.ask(command_of((*names, "1", key), arguments))
            return cast("Reply", reply)
        async with self._free:
            execute = self._client.execute_command
            reply = await execute(*names, 1, key, *arguments, **self._node_of(key))
            self._identity.check_node(key, self._client.get_node_from_key(key))
            return cast("Reply", reply)

    def _node_of(self, key: str) -> dict[str, Any]:
        return {"target_nodes": self._client.get_node_from_key(key)} if self._kind == "cluster" else {}

    async def _load(self, key: str) -> bool:
        try:
            await self._client.execute_command(*_LOAD, library().text, **self._node_of(key))
        except exceptions.ResponseError as error:
            if not is_forbidden(error):
                raise
            self._has_functions = False
        return self._has_functions

    async def forget_idle(self) -> None:
        """Close the connections that nobody uses."""
        if self._kind != "cluster":
            with suppress(*DRIVER_ERRORS):
                await self._client.connection_pool.disconnect(inuse_connections=False)
        if self._packets is not None:
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
            # A Cluster's client goes wrong when many first ask it at once.
            await self._client.initialize()
            self._end = self._until_loop_ends()
            await anext(self._end)
            self._is_open = True

    async def _until_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.close()


class Clients:
    """All clients of one store."""

    def __init__(self, address: Address) -> None:
        self._address = address
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

    def close(self) -> None:
        """Close all connections; repeating is safe."""
        self.blocking.close()
        with self._lock:
            self._is_closed = True
            clients, self._of_loop = self._of_loop, {}
        for loop, client in clients.items():
            _close_in(loop, client)


def _close_in(loop: asyncio.AbstractEventLoop, client: LoopClient) -> None:
    if not loop.is_running():
        # It has ended, and has closed its client; or it goes on later, and closes it when it ends.
        return
    closing = client.close()
    try:
        closed = asyncio.run_coroutine_threadsafe(closing, loop)
    except RuntimeError:
        closing.close()
        return
    if not _is_in(loop):
        with suppress(TimeoutError, asyncio.CancelledError):
            closed.result(_CLOSE_S)


def _is_in(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _options(address: Address, retry: object) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "protocol": 3,
        "legacy_responses": False,
        "decode_responses": False,
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": retry,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if address.tls is not None:
        options |= {"ssl": True, **address.tls}
        options["ssl_check_hostname"] = address.tls.get("ssl_cert_reqs") != "none"
    return options


# The driver's types are partly unknown, and its clients share none: what is called of them is the same in both colours.
_sync: Any = SimpleNamespace(
    server=redis.Redis, cluster=redis.RedisCluster, node=ClusterNode, sentinel=Sentinel, retry=Retry
)
_async: Any = SimpleNamespace(
    server=redis.asyncio.Redis,
    cluster=redis.asyncio.RedisCluster,
    node=AsyncClusterNode,
    sentinel=AsyncSentinel,
    retry=AsyncRetry,
)


def _made(driver: Any, address: Address, greet: Any) -> tuple[Any, Sequence[Any]]:  # noqa: ANN401 - as above
    """A client of the driver that greets whoever answers, and the clients that it asks where the master is."""
    options = _options(address, driver.retry(NoBackoff(), 0))
    # A Cluster's client greets its nodes itself; there the store looks again after each error.
    greeted = options | {"redis_connect_func": greet}
    match address.kind:
        case "server":
            (host, port) = address.hosts[0]
            return driver.server(host=host, port=port, db=address.db, **greeted), ()
        case "socket":
            return driver.server(unix_socket_path=address.path, db=address.db, **greeted), ()
        case "cluster":
            return driver.cluster(startup_nodes=[driver.node(*host) for host in address.hosts], **options), ()
        case "sentinel":
            of_sentinels = {**options, "username": None, "password": address.sentinel_password}
            sentinel = driver.sentinel(list(address.hosts), sentinel_kwargs=of_sentinels, db=address.db, **greeted)
            return sentinel.master_for(address.service), sentinel.sentinels
