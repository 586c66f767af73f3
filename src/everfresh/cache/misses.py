"""Misses: when a key was found missing, which fences the value that is put for it: what was touched since wins.

Rules
- A miss is for who asked: the task or thread in which `cache.get(...)`, or `cache.blocking.get`, is written, whoever
  carries it out: `wait_for(cache.get("a"), 1)`, `gather` and `to_thread` do that in a task or thread of their own.
- It is for nobody above: who started that task or thread may have nothing to do with it, as a server with a request.
- It also counts for those that are started afterwards, as it was then: they begin with a copy of the context.
- A put answers what came of the last time that was asked. It is for one put: the next one answers nothing, nor does one
  after a hit. What failed has answered nothing.

So a context keeps what was asked in it, and not misses: whoever carries a question out, and when, tells it there.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar, overload

from everfresh.model.entry import Key
from everfresh.model.position import Position

P = ParamSpec("P")
R = TypeVar("R")

# Misses whose put never came; the oldest are forgotten, and a put without a miss is simply not fenced.
MAX_MISSES = 100_000

# A context is never changed, only replaced: so much is copied each time.
_N_NEWEST = 64

Place = tuple[object, Key]
"""A key of one cache, which an object of its own stands for."""


class Miss(NamedTuple):
    """Where the store stood when a key was not there, and when that was, as transactions count."""

    position: Position
    moment: int


class Asked:
    """What came of asking for a key. Until that is known, what came of the time before stands."""

    __slots__ = ("_is_done", "_is_known", "_miss", "is_held")

    def __init__(self, miss: Miss | None) -> None:
        self._miss = miss
        self._is_known = False
        self._is_done = False
        self.is_held = False
        """Whether the put has come, and waits for the end of a block; it may still be taken back."""

    @property
    def miss(self) -> Miss | None:
        """What a put would answer."""
        return None if self.is_held else self._miss

    @property
    def is_over(self) -> bool:
        """Whether nothing will come of it any more that matters."""
        return self._is_done and self._miss is None

    def again(self) -> Asked:
        """For who asks again: the same as long as nothing came of it."""
        return Asked(self.miss) if self._is_done else self

    def tell(self, miss: Miss | None) -> None:
        """It was a miss, or none. Who was asked more than once at a time keeps to the first miss."""
        if self._miss is None or not self._is_known:
            self._miss = miss
        self._is_known = self._is_done = True

    def answer(self) -> None:
        """The put has come."""
        self._miss = None

    def give_up(self) -> None:
        """Nothing came of it: what stood stands."""
        self._is_done = True

    def stand_for(self, before: Asked) -> None:
        """Take over the miss of the time before, unless more is known already."""
        if not self._is_known:
            self._miss = self._miss or before.miss


class Slip:
    """Where those in other threads tell who had them ask; it keeps nothing alive of that."""

    def __init__(self, owner: object, pad: list[Slip] | None = None) -> None:
        self._owner = weakref.ref(owner)
        self._told: dict[Place, Asked] = {}
        # The slip that counts now, for all that were made one after the other for the same owner.
        self._pad: list[Slip] = [self] if pad is None else pad

    def is_of(self, one: object) -> bool:
        """Whether it is that task's or thread's."""
        return self._owner() is one

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked."""
        return not self._told

    def asked(self, place: Place) -> Asked:
        """Where to tell what came of it."""
        if len(self._told) >= MAX_MISSES:
            return Asked(None)
        asked = self._told.setdefault(place, Asked(None))
        # Only now: who takes what was asked says first which slip counts from then on.
        newest = self._pad[0]
        return asked if newest is self else newest.asked(place)

    def follow(self, owner: object) -> Slip:
        """A new one for its owner, which counts from now on."""
        following = Slip(owner, self._pad)
        self._pad[0] = following
        return following

    def taken(self) -> dict[Place, Asked]:
        """What was asked until now."""
        return dict(self._told)


class Known(NamedTuple):
    """What was asked in a context; of a place that was asked for more than once the newest counts."""

    newest: dict[Place, Asked]
    older: tuple[dict[Place, Asked], ...]
    """From the oldest on, each more than twice the next."""
    limit: int
    """So many are remembered at least."""

    def get(self, place: Place) -> Asked | None:
        """What was asked for it last."""
        if place in self.newest:
            return self.newest[place]
        return next((level[place] for level in reversed(self.older) if place in level), None)

    def plus(self, place: Place, asked: Asked) -> Known:
        """With one more."""
        newest, older = {**self.newest, place: asked}, self.older
        if len(newest) < _N_NEWEST:
            return Known(newest, older, self.limit)
        newest = _left_of(newest, older)
        if len(newest) < _N_NEWEST // 2:
            return Known(newest, older, self.limit)
        while older and len(older[-1]) <= 2 * len(newest):
            newest, older = _left_of(older[-1] | newest, older[:-1]), older[:-1]
        older = (*older, newest)
        while sum(map(len, older[1:])) >= self.limit:
            older = older[1:]
        return Known({}, older, self.limit)


def _left_of(level: dict[Place, Asked], older: tuple[dict[Place, Asked], ...]) -> dict[Place, Asked]:
    """Without what does not matter; what hides something older does."""
    return {
        place: asked for place, asked in level.items() if not asked.is_over or any(place in hidden for hidden in older)
    }


_known: ContextVar[Known] = ContextVar("everfresh_asked")
_slip: ContextVar[Slip | None] = ContextVar("everfresh_slip", default=None)


def slip() -> Slip:
    """That of who runs here."""
    _look_at_slip()
    here = _slip.get()
    if here is None:
        here = Slip(_whoever())
        _slip.set(here)
    return here


def asked(place: Place, asker: Slip | None = None) -> list[Asked]:
    """Said where a key is asked for: where to tell what comes of it. The slip is of who had it asked, if not here."""
    known = _look_at_slip()
    before = known.get(place)
    here = Asked(None) if before is None else before.again()
    if here is not before:
        _known.set(known.plus(place, here))
    return [here] if asker is None or asker.is_of(_whoever()) else [here, asker.asked(place)]


def answered(place: Place) -> Asked | None:
    """Said where a value is put: what it answers, if that is a miss; to be marked when the value is stored."""
    known = _look_at_slip()
    before = known.get(place)
    if before is None or before.miss is None:
        return None
    # Of those that know of the same miss each has a put for it.
    here = Asked(before.miss)
    here.give_up()
    _known.set(known.plus(place, here))
    return here


class AskedHere(Generic[P, R]):
    """A blocking method whose misses are for who takes it from its cache, whichever thread calls it then."""

    def __init__(self, method: Callable[Concatenate[Any, Slip, P], R]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, one: None, kind: type) -> Self: ...
    @overload
    def __get__(self, one: object, kind: type) -> Callable[P, R]: ...
    def __get__(self, one: object, kind: type) -> Self | Callable[P, R]:
        return self if one is None else partial(self._method, one, slip())


def _look_at_slip() -> Known:
    """What is known here, with what was told since."""
    known, here = _known.get(_NOTHING), _slip.get()
    if here is None:
        return known
    owner = _whoever()
    is_mine = here.is_of(owner)
    if is_mine and here.is_empty:
        return known
    # What is told to who started this one, from now on, is not for this one.
    _slip.set(here.follow(owner) if is_mine else None)
    for place, told in here.taken().items():
        before = known.get(place)
        if before is not None:
            told.stand_for(before)
        known = known.plus(place, told)
    _known.set(known)
    return known


def _whoever() -> object:
    """The task that runs here, or the thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread() if task is None else task


_NOTHING = Known({}, (), MAX_MISSES)
