"""Exchange: steps of several shards travel side by side, one packet to each node that has some of them.

All packets are sent before any reply is read, by one thread or task. Whatever came in place of a reply is given to
whoever asked: the error of the server, or that of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from everfresh.stores.redis.clients import Clients
from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.nodes import Place, Standing
from everfresh.stores.redis.scripts import Script


class Ask:
    """A step of one shard. `found` is the reply, or the error that came in its place."""

    __slots__ = ("arguments", "found", "key", "place", "script", "standing")

    def __init__(self, standing: Standing, key: str, script: Script, arguments: Sequence[bytes], place: Place) -> None:
        self.standing = standing
        self.key = key
        self.script = script
        self.arguments = arguments
        self.place = place
        self.found: Any = None

    def check(self) -> None:
        """A reply counts only while the shard is where it was asked."""
        if not isinstance(self.found, Exception):
            try:
                self.standing.check(self.place)
            except DRIVER_ERRORS as error:
                self.found = error


def exchange(asks: Sequence[Ask]) -> None:
    """Have all of them answered."""
    begun: list[tuple[Any, Any, list[Ask]]] = []
    try:
        for node, some in _by_node(asks).items():
            try:
                lines = node.blocking.lines
                begun.append((lines, lines.begin(_packet(node.blocking, some)), some))
            except DRIVER_ERRORS as error:
                _give(some, [error] * len(some))
        while begun:
            lines, connection, some = begun.pop(0)
            try:
                _give(some, lines.end(connection, len(some)))
            except DRIVER_ERRORS as error:
                _give(some, [error] * len(some))
    finally:
        # Somebody has interrupted it.
        for lines, connection, _ in begun:
            lines.drop(connection)
    for ask in asks:
        ask.check()


async def exchange_async(asks: Sequence[Ask]) -> None:
    """The same in an event loop. Where the server answers one with an error, all in its packet are given that."""
    by_node = _by_node(asks)
    if len(by_node) == 1:
        ((node, some),) = by_node.items()
        await _carry(node, some)
    else:
        await asyncio.gather(*(_carry(node, some) for node, some in by_node.items()))
    for ask in asks:
        ask.check()


async def _carry(node: Clients, some: list[Ask]) -> None:
    try:
        client = node.of_loop()
        _give(some, await client.send(_packet(client, some), len(some)))
    except DRIVER_ERRORS as error:
        _give(some, [error] * len(some))


def _by_node(asks: Sequence[Ask]) -> dict[Clients, list[Ask]]:
    found: dict[Clients, list[Ask]] = {}
    for ask in asks:
        found.setdefault(ask.place.node, []).append(ask)
    return found


def _packet(client: Any, some: Sequence[Ask]) -> bytes:  # noqa: ANN401 - of either colour
    return b"".join([client.command(ask.script, ask.key, ask.arguments) for ask in some])


def _give(some: Sequence[Ask], found: Sequence[Any]) -> None:
    for ask, one in zip(some, found, strict=True):
        ask.found = one
