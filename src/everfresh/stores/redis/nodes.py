"""Nodes: the servers that a store's commands go to, and which of them has the keys of a shard.

    shard's slot ──the driver's map──▶ node: a server like any other, with packets and lines of its own
          ▲                              │
          └── look again ◀── MOVED, or nobody answers: the map is put right

Rules
- All shards of a store share the connections to a node. Each of these has asked who answers, and is used for that run.
- A shard has looked at one run of one node. When its keys are served by another it looks again before anything is sent,
  and what was answered meanwhile does not count.
- A slot that is on its way from one node to another has one half of its shard here and the other there. A step on half
  a shard would lose events, so none is carried out: whoever asks is told to ask again.
- A map that is wrong in one place is put right there. One that leads to a node which does not answer is asked for anew,
  by whoever looks next: that may take a while, and no event loop waits for it.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from redis import exceptions

from everfresh.model.errors import StoreClosed
from everfresh.model.marks import override
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.clients import CLOSED, Clients
from everfresh.stores.redis.driving import map_of, removed
from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.identity import AnotherRun, Identity

_ELSEWHERE = "the keys are served by another node than was looked at"
HALF = "the slot is on its way to another node"
"""What is told to who asks for it meanwhile."""
# What a script meets that asks for a key which has gone already.
_NOT_HERE = "non local key"


class Nodes:
    """The servers of one address, each with its clients; safe from every thread."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._is_cluster = address.kind == "cluster"
        self._only = None if self._is_cluster else Clients(address)
        self._of: dict[str, Clients] = {}
        # Those that serve nothing any more, as long as somebody still uses them.
        self._retired: weakref.WeakSet[Clients] = weakref.WeakSet()
        self._map: Any = None
        self._failed = ""
        self._is_closed = False

    def known(self, slot: int) -> Clients | None:
        """Who has the slot, as far as is known."""
        if self._only is not None:
            return self._only
        map_ = self._map
        if map_ is None:
            return None
        nodes = map_.nodes_manager.slots_cache.get(slot)
        return self._clients_of(nodes[0]) if nodes else None

    def found(self, slot: int) -> Clients:
        """Who has the slot; the Cluster is asked if need be. Raises the driver's errors."""
        if self._is_cluster and (self._map is None or self._failed):
            self._ask_cluster()
        node = self.known(slot)
        if node is None:
            msg = f"no node serves the slot {slot}"
            raise exceptions.ClusterDownError(msg)
        return node

    def note_moved(self, moved: exceptions.MovedError) -> None:
        """A node has said who serves a slot."""
        map_ = self._map
        if map_ is not None:
            map_.nodes_manager.move_slot(moved)

    def note_failure(self, node: Clients) -> None:
        """That one did not answer, or says that it cannot serve: the Cluster may have put another in its place."""
        self._failed = node.name

    def remove(self, pattern: str) -> int:
        """Remove all keys whose names match, wherever they stand; how many there were. For who is alone here."""
        if self._only is not None:
            return self._only.blocking.remove(pattern)
        self.found(0)
        return removed(self._map, pattern)

    def close(self) -> None:
        """Close all connections; repeating is safe."""
        with self._lock:
            self._is_closed = True
            map_, self._map = self._map, None
            clients = [*self._of.values(), *self._retired, *([] if self._only is None else [self._only])]
        for one in clients:
            one.close()
        if map_ is not None:
            with suppress(*DRIVER_ERRORS):
                map_.close()

    def _clients_of(self, node: Any) -> Clients:  # noqa: ANN401 - the driver's nodes share no type
        found = self._of.get(node.name)
        if found is None:
            with self._lock:
                if self._is_closed:
                    raise StoreClosed(CLOSED)
                address = replace(self._address, kind="server", hosts=((str(node.host), int(node.port)),))
                found = self._of.setdefault(node.name, Clients(address, node.name))
        return found

    def _ask_cluster(self) -> None:
        failed, self._failed = self._failed, ""
        map_ = self._map
        try:
            if map_ is None:
                map_ = self._opened()
            else:
                map_.nodes_manager.initialize(last_failed_node_name=failed)
        except DRIVER_ERRORS:
            self._failed = failed or "?"
            raise
        serving = {nodes[0].name for nodes in list(map_.nodes_manager.slots_cache.values())}
        with self._lock:
            gone = [self._of.pop(name) for name in list(self._of) if name not in serving]
            self._retired.update(gone)
        for clients in gone:
            clients.retire()

    def _opened(self) -> Any:  # noqa: ANN401 - as above
        map_ = map_of(self._address)
        with self._lock:
            if not self._is_closed:
                # If another thread was faster, the last one is as good.
                self._map = map_
                return map_
        map_.close()
        raise StoreClosed(CLOSED)


class Place(NamedTuple):
    """A run of a node."""

    node: Clients
    run_id: str


class Standing(Identity):
    """Which run of which node one shard has looked at."""

    def __init__(self, nodes: Nodes, slot: int) -> None:
        super().__init__()
        self.nodes = nodes
        self.slot = slot
        self._looking_at: Clients | None = None
        self._place: Place | None = None

    @property
    @override
    def is_known(self) -> bool:
        place = self._place
        if place is None:
            return False
        node, run_id = place
        return node.identity.run_id == run_id and self.nodes.known(self.slot) is node

    # The store reads it and sets it as it does with that of one server.
    @property
    def run_id(self) -> str:
        """The run that was looked at; empty when another one may answer by now."""
        place = self._place
        return place.run_id if place is not None and self.is_known else ""

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        if not run_id:
            self._place = None
            return
        node = self.looking_at()
        node.identity.run_id = run_id
        self._place = Place(node, run_id)

    def look(self) -> Clients:
        """The node that is looked at from now on. Raises the driver's errors."""
        node = self._looking_at = self.nodes.found(self.slot)
        return node

    def looking_at(self) -> Clients:
        """The node that was looked at last."""
        return self._looking_at or self.look()

    def place(self) -> Place:
        """Where the next step goes.

        Raises:
            AnotherRun: nobody has looked yet at who answers there.
        """
        place = self._place
        if place is None:
            raise AnotherRun(_ELSEWHERE)
        return place

    def check(self, place: Place) -> None:
        """See, once a step was answered, that the shard still is where it was sent.

        Raises:
            AnotherRun: what was answered may come from elsewhere.
        """
        if self._place is not place or not self.is_known:
            raise AnotherRun(_ELSEWHERE)

    def translated(self, error: Exception, node: Clients) -> Exception:
        """The error of a node in the words of a single server; what it says of the Cluster is taken note of."""
        if isinstance(error, exceptions.MovedError):
            moved: Any = error
            if moved.host:
                self.nodes.note_moved(moved)
            else:
                # A node that does not know the other's name.
                self.nodes.note_failure(node)
            self.forget()
            return AnotherRun(_ELSEWHERE)
        if isinstance(error, exceptions.AskError) or _NOT_HERE in str(error):
            return exceptions.TryAgainError(HALF)
        if isinstance(error, exceptions.ClusterDownError):
            self.nodes.note_failure(node)
            self.forget()
        return error
