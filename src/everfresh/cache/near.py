"""The near cache: values held in this process, coherent through the feed.

Rules
- Only settled values are held. A record of an entry kills its slot; callers look at `is_live` before they use one.
- A reader opens a ticket before it asks the store, and fills the slot with what it got. A record that comes in between
  voids the ticket unless the answer tells of it: a feed may tell again of what this process did.
- An immutable value is handed out as it is, any other is decoded for each caller, so nobody changes another's.
- When nobody vouches for what is held, it lapses: no longer current, and kept apart for when the store cannot be asked.
- A use only marks its slot. Who counts reads collects the marks; the slot stays warm for `_make_room`.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from everfresh.cache.values import is_immutable
from everfresh.feed.listeners import Listener
from everfresh.model.entry import Entry, FeedRecord, Key
from everfresh.model.marks import override

SlotsOfArgs = dict[tuple[object, ...], "Slot"]


class Slot:
    """One value, as long as it lives."""

    __slots__ = (
        "_args",
        "_home",
        "digest",
        "entry",
        "is_immutable",
        "is_live",
        "is_used",
        "is_warm",
        "only",
        "types",
        "value",
    )

    def __init__(
        self,
        entry: Entry,
        value: Any,  # noqa: ANN401 - values are of any type
        *,
        home: SlotsOfArgs | None = None,
        args: tuple[object, ...] = (),
    ) -> None:
        self.entry = entry
        self.digest = entry.digest
        self.is_immutable = is_immutable(value)
        self.value = value if self.is_immutable else None
        self.is_live = True
        self.is_used = False
        self.is_warm = False
        self.types = tuple(map(type, args))
        # The type of the one argument, as most calls have one: a loop over one costs a third of a hit.
        self.only = self.types[0] if len(self.types) == 1 else None
        self._args = args
        self._home = home

    def go_home(self) -> None:
        """Let the arguments themselves lead here, without their canonical text."""
        if self._home is not None:
            self._home[self._args] = self

    def die(self) -> None:
        """Never be handed out again."""
        self.is_live = False
        if self._home is not None and self._home.get(self._args) is self:
            del self._home[self._args]


class Ticket:
    """Stands for a question to the store that is under way."""

    __slots__ = ("is_void", "key", "newest")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.is_void = False
        # The sequence of the last record that came.
        self.newest = 0


class NearCache(Listener):
    """At most `n_max` slots; one that was not used since the last look goes first. Zero holds nothing."""

    def __init__(self, n_max: int) -> None:
        self._n_max = n_max
        self._slots: dict[Key, Slot] = {}
        self._tickets: dict[Key, list[Ticket]] = {}
        # What has lapsed, and since when by `time.monotonic`.
        self._lapsed: dict[Key, tuple[Entry, float]] = {}
        self._lock = threading.Lock()
        # The keys of slots that were used and are gone since the marks were collected; None while nobody does.
        self._used: set[Key] | None = None
        _NEAR_CACHES.add(self)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def is_holding(self) -> bool:
        """Whether it ever holds anything; else nobody need ask, or confirm what it holds."""
        return self._n_max > 0

    def get(self, key: Key) -> Slot | None:
        """The live slot of the key."""
        return self._slots.get(key)

    def open(self, key: Key) -> Ticket:
        """Begin to ask the store."""
        ticket = Ticket(key)
        if not self._n_max:
            return ticket
        with self._lock:
            self._tickets.setdefault(key, []).append(ticket)
        return ticket

    def settle(self, ticket: Ticket, slot: Slot | None) -> None:
        """Use the ticket up: hold the slot, if there is one and its entry did not change meanwhile."""
        if not self._n_max:
            return
        with self._lock:
            self._close(ticket)
            if slot is None or ticket.is_void or slot.entry.changed_at.sequence < ticket.newest:
                return
            old = self._slots.get(ticket.key)
            if old is not None:
                self._end(ticket.key, old)
            elif len(self._slots) >= self._n_max:
                self._make_room()
            self._slots[ticket.key] = slot
            slot.go_home()

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        if not self._n_max:
            return
        with self._lock:
            for record in records:
                self._lapsed.pop(record.key, None)
                slot = self._slots.get(record.key)
                # A feed may tell again of the commit that the slot was filled from.
                if slot is not None and slot.entry.changed_at.sequence < record.sequence:
                    self._end(record.key, slot)
                    del self._slots[record.key]
                for ticket in self._tickets.get(record.key, ()):
                    ticket.newest = max(ticket.newest, record.sequence)

    @override
    def on_reset(self) -> None:
        with self._lock:
            for key, slot in self._slots.items():
                self._end(key, slot)
            self._slots.clear()
            self._lapsed.clear()
            for tickets in self._tickets.values():
                for ticket in tickets:
                    ticket.is_void = True

    def lapse(self, since: float | None = None) -> None:
        """Nobody vouches for what is held, since then by `time.monotonic`, or from now on: it is not current."""
        if not self._slots:
            return
        with self._lock:
            since = time.monotonic() if since is None else since
            for key, slot in self._slots.items():
                self._end(key, slot)
                self._lapsed[key] = (slot.entry, since)
            self._slots.clear()
            while len(self._lapsed) > self._n_max:
                del self._lapsed[next(iter(self._lapsed))]

    def lapsed(self, key: Key) -> tuple[Entry, float] | None:
        """What was held last and has lapsed, and for how many seconds it has been unknown whether it is current."""
        found = self._lapsed.get(key)
        return None if found is None else (found[0], time.monotonic() - found[1])

    def note_use(self) -> None:
        """Keep, from now on, which keys are used until somebody takes them."""
        with self._lock:
            self._used = set() if self._used is None else self._used

    def take_used(self) -> set[Key]:
        """The keys that were used since the last time."""
        with self._lock:
            used = self._used or set[Key]()
            self._used = None if self._used is None else set()
            for key, slot in self._slots.items():
                if slot.is_used:
                    used.add(key)
                    slot.is_used, slot.is_warm = False, True
            return used

    def bar(self) -> None:
        """Hold nothing from now on, in the child of a fork: there is nobody there who would keep it coherent."""
        # A thread of the parent may have held the old one.
        self._lock = threading.Lock()
        self._n_max = 0
        for slot in tuple(self._slots.values()):
            slot.die()
        self._slots.clear()

    def take_use(self, key: Key) -> bool:
        """Whether it was used since the last time that anybody asked."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or not slot.is_used:
                return False
            slot.is_used, slot.is_warm = False, True
            return True

    def _end(self, key: Key, slot: Slot) -> None:
        """Kill the slot, before anything else: an interrupt at any moment leaves none alive that nobody can find."""
        slot.die()
        if slot.is_used and self._used is not None:
            self._used.add(key)

    def _close(self, ticket: Ticket) -> None:
        tickets = self._tickets[ticket.key]
        tickets.remove(ticket)
        if not tickets:
            del self._tickets[ticket.key]

    def _make_room(self) -> None:
        """Drop the oldest slot that was not used since it last came to the front; ends, as each turn clears a mark."""
        while True:
            key, slot = next(iter(self._slots.items()))
            if not slot.is_used and not slot.is_warm:
                slot.die()
                del self._slots[key]
                return
            del self._slots[key]
            if slot.is_used and self._used is not None:
                self._used.add(key)
            slot.is_used = slot.is_warm = False
            self._slots[key] = slot


_NEAR_CACHES: weakref.WeakSet[NearCache] = weakref.WeakSet()


def _bar_forked() -> None:
    for near in tuple(_NEAR_CACHES):
        near.bar()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bar_forked)
