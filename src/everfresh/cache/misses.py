"""Misses: when a key was found missing, which fences the value that is put for it: what was touched since wins.

Rules
- Each task and thread knows its own misses, and those that whoever started it had until then.
- A miss also counts for whoever asked, if that is another than who looked: `wait_for(cache.get("a"), 1)`, `gather` and
  `to_thread` look in a task or thread of their own. So who asks leaves a *slip*, which is found again in its context.
- A miss is for one put. Of several that were left on a slip for one key the oldest counts: at worst a value that could
  have been stored is not.

A slip is of one task or thread, and keeps nothing of it alive. It hands what it is told to the slip under which it was
made, and knows nothing of what is above that: who starts whom for ever makes no chain.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextvars import ContextVar
from typing import NamedTuple

from everfresh.model.entry import Key
from everfresh.model.position import Position

# Misses whose put never came; the oldest are forgotten, and a put without a miss is simply not fenced.
_MAX_MISSES = 1_000

Place = tuple[object, Key]
"""A key of one cache, which an object of its own stands for."""


class Miss(NamedTuple):
    """Where the store stood when a key was not there, and when that was, as transactions count."""

    position: Position
    moment: int


class _Told:
    """Misses by place, bounded; safe from every thread."""

    __slots__ = ("__weakref__", "_lock", "_misses")

    def __init__(self) -> None:
        self._misses: dict[Place, Miss] = {}
        self._lock = threading.Lock()

    def add(self, place: Place, miss: Miss) -> None:
        """Note it, unless there is an older one."""
        with self._lock:
            if place not in self._misses:
                self._misses[place] = miss
                if len(self._misses) > _MAX_MISSES:
                    del self._misses[next(iter(self._misses))]

    def get(self, place: Place) -> Miss | None:
        """What was noted."""
        return self._misses.get(place)

    def forget(self, place: Place, miss: Miss | None = None) -> None:
        """Forget what was noted, or that one miss only."""
        with self._lock:
            if miss is None or self._misses.get(place) == miss:
                self._misses.pop(place, None)


class Slip:
    """What a task or thread is told of the misses of those whom it had look for it."""

    __slots__ = ("_above", "_owner", "told")

    def __init__(self, owner: object, outer: Slip | None) -> None:
        self._owner = weakref.ref(owner)
        self.told = _Told()
        self._above = None if outer is None else outer.told

    def is_of(self, one: object) -> bool:
        """Whether it is that task's or thread's."""
        return self._owner() is one

    def note(self, place: Place, miss: Miss) -> None:
        """Tell of a miss."""
        self.told.add(place, miss)
        if self._above is not None:
            self._above.add(place, miss)

    def spend(self, place: Place, miss: Miss, one: object) -> None:
        """The put has come, from that task or thread. Of a slip that is another's it has answered but the one miss."""
        self.told.forget(place, None if self.is_of(one) else miss)
        if self._above is not None:
            self._above.forget(place, miss)


_own: ContextVar[dict[Place, Miss]] = ContextVar("everfresh_misses")
_slip: ContextVar[Slip | None] = ContextVar("everfresh_slip", default=None)


def slip() -> Slip:
    """That of who runs here; what is told on it later is found by a put here."""
    here, owner = _slip.get(), _whoever()
    if here is None or not here.is_of(owner):
        here = Slip(owner, here)
        _slip.set(here)
    return here


def found(place: Place) -> Miss | None:
    """The miss that a put here answers."""
    own = _own.get({}).get(place)
    if own is not None:
        return own
    here = _slip.get()
    return None if here is None else here.told.get(place)


def note(place: Place, miss: Miss, asked: Slip | None) -> None:
    """Note a miss that was met here; `asked` is of who asked."""
    misses = dict(_own.get({}))
    misses.pop(place, None)
    misses[place] = miss
    while len(misses) > _MAX_MISSES:
        del misses[next(iter(misses))]
    _own.set(misses)
    asked = _slip.get() if asked is None else asked
    if asked is not None:
        asked.note(place, miss)


def forget(place: Place) -> None:
    """The put has come: the next one answers another miss."""
    miss, here = found(place), _slip.get()
    if miss is None:
        return
    _own.set({other: one for other, one in _own.get({}).items() if other != place})
    if here is not None:
        here.spend(place, miss, _whoever())


def _whoever() -> object:
    """The task that runs here, or the thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread() if task is None else task
