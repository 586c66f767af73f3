"""Tracking: what a build is seen to depend on.

A build runs in an empty context with one variable set: its frame. `track` and nested cached functions write into it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from everfresh.matching.shapes import CALL_SHAPE, Group, Shape, Values, grouped, shape_and_values
from everfresh.model import dependency as dep
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import RecursiveBuild
from everfresh.protocol.requests import ABSENT, Seen

# Two values of one entry were seen in one build: no digest is right, so the commit counts as outrun.
_TWO_VALUES = "?"


class Frame:
    """What one build has said and was seen to depend on so far."""

    __slots__ = (
        "_digests",
        "_is_open",
        "_parts",
        "_see",
        "_shapes",
        "_tell",
        "chain",
        "expires_at",
        "good_from",
        "is_makeshift",
    )

    def __init__(
        self,
        chain: tuple[Key, ...],
        good_from: int,
        *,
        tell: Callable[[Shape], None],
        see: Callable[[Key], Entry | None],
    ) -> None:
        self.chain = chain
        self.good_from = good_from
        self.expires_at: float | None = None
        self.is_makeshift = False
        self._tell = tell
        self._see = see
        self._parts: set[tuple[Shape, Values]] = set()
        self._shapes: set[Shape] = set()
        self._digests: dict[Key, str] = {}
        self._is_open = True

    def add(self, dependency: dep.Dependency) -> None:
        """Depend on it. A shape that appears for the first time is known to the store before this returns."""
        if not self._is_open:
            return
        if isinstance(dependency, dep.Call):
            key = Key(dependency.key)
            self.saw(key, self._see(key))
            return
        shape, values = shape_and_values(dependency)
        if shape not in self._shapes:
            self._tell(shape)
            self._shapes.add(shape)
        self._parts.add((shape, values))

    def saw(self, key: Key, entry: Entry | None) -> None:
        """Depend on the value of another entry as it was seen, or on its absence.

        What the builds that led here make is no dependency: `peek` at the own last value would touch itself for ever.
        """
        if not self._is_open or key in self.chain:
            return
        digest = ABSENT if entry is None else entry.digest
        if self._digests.setdefault(key, digest) != digest:
            self._digests[key] = _TWO_VALUES
        self._parts.add((CALL_SHAPE, (key,)))
        if entry is None:
            return
        if entry.stale_since is not None:
            self.good_from = min(self.good_from, entry.position.sequence)
        if entry.expires_at is not None:
            self.expires_at = min(self.expires_at or entry.expires_at, entry.expires_at)

    def stumbled(self, key: Key, entry: Entry | None) -> None:
        """Note that the build of another entry failed: if this one goes on without it, what it makes is makeshift."""
        self.saw(key, entry)
        self.is_makeshift = True

    def enter(self, key: Key) -> None:
        """Refuse to need what is being built.

        Raises:
            RecursiveBuild: the key is in the chain of builds that led here.
        """
        if key in self.chain:
            start = self.chain.index(key)
            cycle = " -> ".join((*self.chain[start:], key))
            msg = f"recursion: {cycle}. A cached function cannot need the value that it is building."
            raise RecursiveBuild(msg)

    def close(self) -> tuple[tuple[Group, ...], tuple[Seen, ...]]:
        """The dependencies; what is said later, by a task that outlived the build, is ignored."""
        self._is_open = False
        return grouped(self._parts), tuple(Seen(key, digest) for key, digest in sorted(self._digests.items()))


current_frame: ContextVar[Frame | None] = ContextVar("everfresh_frame", default=None)


def track(*dependencies: dep.Dependency) -> None:
    """Say, while a cached function builds, what its result depends on; outside a build it does nothing.

    Raises:
        InvalidDependency: one of them is no dependency, or has a value without a canonical text.
    """
    frame = current_frame.get()
    checked = dep.check_dependencies(dependencies)
    if frame is not None:
        for dependency in checked:
            frame.add(dependency)
