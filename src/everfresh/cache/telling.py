"""Telling a store of new shapes before the functions that named them read on.

So an event that comes after that is judged by what it says. Where nobody could wait for the store the commit makes the
shape known, and what began before that is built again if any event has come meanwhile.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from everfresh.cache.keeper import running_loop
from everfresh.feed.following import AnyFollower
from everfresh.feed.streaming import StreamFollower
from everfresh.matching.shapes import Shape, ShapeId
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.requests import Register
from everfresh.stores.store import Store

# A store that answers takes a hundredth of it; an event loop stands still for so long, once in each silence.
MOST_S = 0.05


class Teller:
    """Tells of each shape once; safe from every thread."""

    def __init__(self, store: Store, follower: AnyFollower) -> None:
        self._store = store
        # Over a network, where an answer may take seconds.
        self._is_far = isinstance(follower, StreamFollower)
        self._told: set[ShapeId] = set()
        self._thread: threading.Thread | None = None

    @property
    def must_not_wait(self) -> bool:
        """Whether an event loop runs in this thread, which the store might keep waiting."""
        return self._is_far and running_loop() is not None

    def tell(self, shape: Shape) -> None:
        """Have the store know it, if it answers; in an event loop, if it does so at once."""
        if shape.id in self._told:
            return
        if not self.must_not_wait:
            self._tell(shape)
        elif self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._tell, args=(shape,), name="everfresh-teller", daemon=True)
            self._thread.start()
            self._thread.join(MOST_S)

    def _tell(self, shape: Shape) -> None:
        with suppress(StoreUnavailable):
            self._store.carry_out(Register((shape,)))
            self._told.add(shape.id)
