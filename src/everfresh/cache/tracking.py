"""Tracking: what a build is seen to depend on.

A build runs in an empty context with one variable set: its frame. `track` and nested cached functions write into it,
from whichever threads the build hands its context to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from everfresh.matching.shapes import CALL_SHAPE, Group, Shape, Values, grouped, shape_and_values
from everfresh.model import dependency as dep
from everfresh.model.entry import Entry, Key, Lease
from everfresh.model.errors import InvalidDependency, RecursiveBuild
from everfresh.model.position import Position
from everfresh.protocol.requests import ABSENT, Seen

# Two values of one entry were seen in one build: no digest is right, so the commit counts as outrun.
_TWO_VALUES = "?"
# How far the clocks of two shards may be apart. A change so long before the build costs another build.
_CLOCKS_APART_S = 1.0


class Later:
    """Stands for what nobody can look at now without keeping an event loop waiting."""


LATER = Later()


class Frame:
    """What one build has said and was seen to depend on so far; safe from every thread.

    `cause` is the chain of builds whose own events led to this one, `outer` the build that needs this one. With
    `is_strict` nothing old may be read on the way, and with `has_refused_old` something could not be had that any other
    build might have got. `warn` is called for a list that nobody described; the value is then for its caller alone, and
    so is the outer one. Without it such a list is an error.
    """

    __slots__ = (
        "_begun",
        "_begun_at",
        "_digests",
        "_epoch",
        "_is_open",
        "_lock",
        "_n_outer",
        "_outer",
        "_owed",
        "_parts",
        "_see",
        "_shapes",
        "_tell",
        "_warn",
        "cause",
        "chain",
        "expires_at",
        "good_from",
        "has_refused_old",
        "is_makeshift",
        "is_private",
        "is_strict",
    )

    def __init__(  # noqa: PLR0913 - what is known of the build, and its ways to the world
        self,
        chain: tuple[Key, ...],
        begun: Position,
        *,
        tell: Callable[[Shape], None],
        see: Callable[[Key], Entry | Later | None],
        warn: Callable[[dep.Undescribed], None] | None = None,
        cause: tuple[str, ...] = (),
        outer: Frame | None = None,
        is_strict: bool = False,
        begun_at: float = 0.0,
    ) -> None:
        self.chain = chain
        self._begun_at = begun_at
        self.good_from = begun.sequence
        self._begun = begun.sequence
        self._epoch = begun.epoch
        self.cause = cause
        self.expires_at: float | None = None
        self.is_makeshift = False
        self.is_private = False
        self.is_strict = is_strict
        self.has_refused_old = False
        self._outer = outer
        self._n_outer = 0 if outer is None else len(outer.chain)
        self._tell = tell
        self._see = see
        self._warn = warn
        self._parts: set[tuple[Shape, Values]] = set()
        self._shapes: set[Shape] = set()
        self._digests: dict[Key, str] = {}
        self._owed: dict[Key, None] = {}
        self._is_open = True
        # Held for single facts, never while the store is asked.
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the build still runs."""
        return self._is_open

    @property
    def owed(self) -> tuple[Key, ...]:
        """The entries that are to be looked at when the function has ended, before the frame is closed."""
        with self._lock:
            return tuple(self._owed)

    @property
    def generations(self) -> tuple[str, ...]:
        """The chain of builds that an event has behind it which this build publishes."""
        return (*self.cause, self.chain[-1])

    def add(self, dependency: dep.Dependency) -> None:
        """Depend on it.

        A shape that appears for the first time is known to the store before this returns, if that answers. Another
        entry was looked at, or is, in an event loop that the store would keep waiting, when the function has ended.

        Raises:
            InvalidDependency: it is one that nobody described, and this is no production.
        """
        if not self._is_open:
            return
        match dependency:
            case dep.Undescribed():
                self._add_undescribed(dependency)
            case dep.Call():
                key = Key(dependency.key)
                self._note(key, self._see(key))
            case _:
                shape, values = shape_and_values(dependency)
                if shape not in self._shapes:
                    # Two threads may both tell; neither may go on before it is told.
                    self._tell(shape)
                with self._lock:
                    if self._is_open:
                        self._shapes.add(shape)
                        self._parts.add((shape, values))

    def saw(self, key: Key, entry: Entry | None) -> None:
        """Depend on the value of another entry as it was seen, or on its absence.

        What the builds that led here make is no dependency: `peek` at the own last value would touch itself for ever.
        """
        if self._is_under_way(key):
            return
        digest = ABSENT if entry is None else entry.digest
        with self._lock:
            if not self._is_open:
                return
            if self._digests.setdefault(key, digest) != digest:
                self._digests[key] = _TWO_VALUES
            self._parts.add((CALL_SHAPE, (key,)))
            if entry is None:
                return
            if entry.stale_since is not None:
                # The order of another shard says nothing in this one.
                is_comparable = entry.position.epoch == self._epoch
                self.good_from = min(self.good_from, entry.position.sequence if is_comparable else 0)
            if entry.expires_at is not None:
                self.expires_at = min(self.expires_at or entry.expires_at, entry.expires_at)

    def saw_late(self, key: Key, entry: Entry | None) -> None:
        """Depend on the value of another entry as it is now, if it was the same all the time."""
        if entry is not None and self._may_have_changed(entry):
            with self._lock:
                self._digests[key] = _TWO_VALUES
        self.saw(key, entry)

    def _may_have_changed(self, entry: Entry) -> bool:
        """Whether it changed since the build began, as far as can be told."""
        if entry.changed_at.epoch == self._epoch:
            return entry.changed_at.sequence > self._begun
        # The order of another shard says nothing in this one; their clocks are nearly one.
        return entry.built_at > self._begun_at - _CLOCKS_APART_S

    def stumbled(self, key: Key, entry: Entry | Later | None, *, takes_old: bool = False) -> None:
        """Note that the build of another entry failed: if this one goes on without it, what it makes is makeshift.

        With `takes_old` that entry's function lets an old value stand in for it, which a strict build refuses.
        """
        self._note(key, entry)
        self.is_makeshift = True
        if takes_old and self.is_strict:
            for frame in self._with_outer():
                frame.has_refused_old = True

    def enter(self, key: Key) -> None:
        """Refuse to need what is being built.

        Raises:
            RecursiveBuild: the key is in the chain of builds that led here.
        """
        if self._is_under_way(key):
            start = self.chain.index(key)
            cycle = " -> ".join((*self.chain[start:], key))
            msg = f"recursion: {cycle}. A cached function cannot need the value that it is building."
            raise RecursiveBuild(msg)

    def close(self) -> tuple[tuple[Group, ...], tuple[Seen, ...]]:
        """The dependencies; what is said later, by a task or a thread that outlived the build, is ignored."""
        with self._lock:
            self._is_open = False
            return grouped(self._parts), tuple(Seen(key, digest) for key, digest in sorted(self._digests.items()))

    def _note(self, key: Key, entry: Entry | Later | None) -> None:
        if not isinstance(entry, Later):
            self.saw(key, entry)
        elif not self._is_under_way(key):
            with self._lock:
                self._owed[key] = None

    def _add_undescribed(self, dependency: dep.Undescribed) -> None:
        if self._warn is None:
            raise undescribed(dependency)
        self._warn(dependency)
        for frame in self._with_outer():
            frame.is_private = True

    def _is_under_way(self, key: Key) -> bool:
        """Whether this build, or one that led here and has not ended, makes it. A task may outlive its build."""
        return key in self.chain and any(
            frame._is_open and key in frame.chain[frame._n_outer :]  # noqa: SLF001 - its own kind
            for frame in self._with_outer()
        )

    def _with_outer(self) -> Iterator[Frame]:
        """The frame, and those of the builds that need it."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame._outer  # noqa: SLF001 - its own kind


current_frame: ContextVar[Frame | None] = ContextVar("everfresh_frame", default=None)
"""The frame of the build in whose context this runs. Ask `open_frame`: a task or a thread may outlive its build."""


def open_frame() -> Frame | None:
    """The frame of the build that runs here; None outside, and for what has outlived the build that started it."""
    frame = current_frame.get()
    if frame is None or frame.is_open:
        return frame
    # A consumer or a pool that a build started lives as long as the process: near hits are as quick there as elsewhere.
    current_frame.set(None)
    return None


def generations_of(outer: Frame | None, lease: Lease) -> tuple[str, ...]:
    """The chain of builds that led to one under the lease; a nested build is of the same generation as the outer."""
    if outer is None or len(lease.cause) > len(outer.cause):
        return lease.cause
    return outer.cause


def undescribed(dependency: dep.Undescribed) -> InvalidDependency:
    """The error for a list that nobody described."""
    names = ", ".join(dependency.names)
    return InvalidDependency(
        f"scope of {dependency.type!r} by ({names}): no description covers it, so nobody can tell which objects enter "
        f"or leave the list. Register one with @scopes.describes(...)."
    )


def track(*dependencies: dep.Dependency) -> None:
    """Say, while a cached function builds, what its result depends on; outside a build it does nothing.

    It may be said in every thread that has the build's context: `asyncio.to_thread` hands it on, for others see
    `propagate`.

    Raises:
        InvalidDependency: one of them is no dependency, or has a value without a canonical text.
    """
    frame = open_frame()
    checked = dep.check_dependencies(dependencies)
    if frame is not None:
        for dependency in checked:
            frame.add(dependency)
