"""Routing: the steps of one shard go to the node that has it, on connections that others use too.

These have the same methods as the clients of one server, so that a store need not know which it has.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis import exceptions
from redis.crc import key_slot

from everfresh.model.errors import StoreClosed
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.clients import CLOSED, BlockingClient, Clients, LoopClient, Reply
from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.glimpse import Told
from everfresh.stores.redis.nodes import HALF, Nodes, Standing
from everfresh.stores.redis.scripts import Script

T = TypeVar("T")


class RoutedBlocking:
    """Runs scripts of one shard on the node that has it; safe from every thread."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def run(self, script: Script, key: str, arguments: Sequence[bytes], *, is_look: bool = False) -> Reply:
        """See `BlockingClient.run`."""
        if is_look:
            return self._look(lambda client: client.run(script, key, arguments, is_look=True))
        return self._ask(lambda client: client.run(script, key, arguments))

    def ask(self, question: bytes) -> Told:
        """See `BlockingClient.ask`."""
        return self._ask(lambda client: client.ask(question))

    def info(self, key: str) -> dict[str, Any]:
        """See `BlockingClient.info`."""
        self._standing.look()
        return self._look(lambda client: client.info(key))

    def forget_idle(self) -> None:
        """Close the connections that nobody uses, to where the shard is."""
        node = self._standing.nodes.known(self._standing.slot)
        if node is not None:
            node.blocking.forget_idle()

    def _ask(self, ask: Callable[[BlockingClient], T]) -> T:
        standing = self._standing
        place = standing.place()
        try:
            replied = ask(place.node.blocking)
        except exceptions.ResponseError as error:
            raise standing.translated(error, place.node) from error
        standing.check(place)
        return replied

    def _look(self, ask: Callable[[BlockingClient], T]) -> T:
        node = self._standing.looking_at()
        try:
            return ask(node.blocking)
        except exceptions.MovedError as error:
            self._standing.translated(error, node)
            # Two nodes that do not agree yet would send us back and forth.
            raise exceptions.TryAgainError(HALF) from error
        except exceptions.ResponseError as error:
            raise self._standing.translated(error, node) from error
        except DRIVER_ERRORS:
            self._standing.nodes.note_failure(node)
            raise


class RoutedLoop:
    """The same in whichever event loop runs."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    async def run(self, script: Script, key: str, arguments: Sequence[bytes]) -> Reply:
        """See `LoopClient.run`."""
        return await self._ask(lambda client: client.run(script, key, arguments))

    async def ask(self, question: bytes) -> Told:
        """See `LoopClient.ask`."""
        return await self._ask(lambda client: client.ask(question))

    async def run_with(
        self, script: Script, key: str, arguments: Sequence[bytes], questions: Sequence[bytes]
    ) -> tuple[Reply, Sequence[Told]]:
        """See `LoopClient.run_with`."""
        return await self._ask(lambda client: client.run_with(script, key, arguments, questions))

    async def forget_idle(self) -> None:
        """Close the connections that nobody uses, to where the shard is."""
        node = self._standing.nodes.known(self._standing.slot)
        if node is not None:
            await node.of_loop().forget_idle()

    async def _ask(self, ask: Callable[[LoopClient], Awaitable[T]]) -> T:
        standing = self._standing
        place = standing.place()
        try:
            replied = await ask(place.node.of_loop())
        except exceptions.ResponseError as error:
            raise standing.translated(error, place.node) from error
        standing.check(place)
        return replied


class Routed:
    """What the store of one shard sends its steps by; `is_shared` if others use the nodes too, and close them."""

    def __init__(self, nodes: Nodes, key: str, *, is_shared: bool) -> None:
        self._nodes = nodes
        self._is_shared = is_shared
        self.identity = Standing(nodes, key_slot(key.encode()))
        """Which run of which node was looked at."""
        self.blocking = RoutedBlocking(self.identity)
        """For whoever has no event loop."""
        self._loop = RoutedLoop(self.identity)

    def of_loop(self) -> RoutedLoop:
        """For the running event loop."""
        return self._loop

    def follower(self) -> Following:
        """Connections of a follower's own."""
        return Following(self.identity)

    def close(self) -> None:
        """Close all connections, if they are its own; repeating is safe."""
        if not self._is_shared:
            self._nodes.close()


class Following:
    """A follower's connections to whichever node has the shard: to close them ends its wait, and nobody else's."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._lock = threading.Lock()
        self._at: Clients | None = None
        self._client: BlockingClient | None = None
        self._is_closed = False

    def run(self, script: Script, key: str, arguments: Sequence[bytes]) -> Reply:
        """See `BlockingClient.run`."""
        return self._ask(lambda client: client.run(script, key, arguments))

    def hear(self, stream: bytes, after: bytes, wait_s: float) -> Sequence[Any]:
        """See `BlockingClient.hear`."""
        return self._ask(lambda client: client.hear(stream, after, wait_s))

    def start_over(self) -> None:
        """See `BlockingClient.start_over`."""
        with self._lock:
            client = self._client
        if client is not None:
            client.start_over()

    def close(self) -> None:
        """Close all connections; repeating is safe."""
        with self._lock:
            self._is_closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, ask: Callable[[BlockingClient], T]) -> T:
        standing = self._standing
        place = standing.place()
        try:
            replied = ask(self._of(place.node))
        except exceptions.ResponseError as error:
            raise standing.translated(error, place.node) from error
        except DRIVER_ERRORS:
            standing.nodes.note_failure(place.node)
            raise
        standing.check(place)
        return replied

    def _of(self, node: Clients) -> BlockingClient:
        with self._lock:
            if self._is_closed:
                raise StoreClosed(CLOSED)
            if self._client is None or self._at is not node:
                before, self._at = self._client, node
                self._client = node.another()
                if before is not None:
                    before.close()
            return self._client


StoreClients = Clients | Routed
AnyBlocking = BlockingClient | RoutedBlocking
AnyLoop = LoopClient | RoutedLoop


def clients_of(address: Address, key: str) -> StoreClients:
    """The clients of a store that has them to itself."""
    return Routed(Nodes(address), key, is_shared=False) if address.kind == "cluster" else Clients(address)
