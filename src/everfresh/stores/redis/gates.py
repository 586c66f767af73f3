"""Gates: one for each node, so that all shards there are spared the wait for a node that one of them has met silent.

A shard's slot leads to a node by the driver's map, and so to the gate that stands there now. While it is shut, one
thread asks for all of them whether the node answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from everfresh.stores.redis.circuit import Gate
from everfresh.stores.redis.clients import Clients
from everfresh.stores.redis.nodes import Standing


class Gates:
    """Those of all nodes of a store; safe from every thread."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._lock = threading.Lock()
        # None stands for whichever node it will be.
        self._of: dict[Clients | None, Gate] = {}
        self._looks: list[tuple[Standing, Callable[[], None]]] = []

    def gate_of(self, standing: Standing, look: Callable[[], None]) -> GateOfShard:
        """The gate of a shard, wherever that is. `look` sees who answers there. Raises the driver's errors."""
        self._looks.append((standing, look))
        return GateOfShard(self, standing)

    def at(self, standing: Standing) -> Gate:
        """The gate of the node where the shard is now, as far as is known."""
        node = standing.nodes.known(standing.slot)
        found = self._of.get(node)
        if found is None:
            with self._lock:
                # Nobody comes any more to those of nodes that serve nothing.
                here = {standing.nodes.known(standing.slot) for standing, _ in self._looks}
                self._of = {other: gate for other, gate in self._of.items() if other in here or not gate.is_open}
                found = self._of.setdefault(node, Gate(self._server, lambda: self._look(node)))
        return found

    def stop(self) -> None:
        """Ask no more."""
        with self._lock:
            for gate in self._of.values():
                gate.stop()

    def _look(self, node: Clients | None) -> None:
        """Look for all shards that are there; the first to fail spares the others."""
        for standing, look in tuple(self._looks):
            if standing.nodes.known(standing.slot) is node:
                look()


class GateOfShard:
    """See `Gate`: that of whichever node has the shard."""

    def __init__(self, gates: Gates, standing: Standing) -> None:
        self._gates = gates
        self._standing = standing

    @property
    def is_open(self) -> bool:
        """See `Gate.is_open`."""
        return self._gates.at(self._standing).is_open

    def check(self) -> None:
        """See `Gate.check`."""
        self._gates.at(self._standing).check()

    def note_answer(self) -> None:
        """See `Gate.note_answer`."""
        self._gates.at(self._standing).note_answer()

    def note_failure(self, problem: Exception) -> None:
        """See `Gate.note_failure`."""
        self._gates.at(self._standing).note_failure(problem)

    def warn(self, problem: Exception) -> None:
        """See `Gate.warn`."""
        self._gates.at(self._standing).warn(problem)

    def stop(self) -> None:
        """See `Gate.stop`; the shards of a store are closed together."""
        self._gates.stop()
