"""An object changes that is shown to many users: are all of their copies gone, and nothing else?

Each user has a cached copy of his own, under his own arguments; the object's tag is invalidated. Are those gone too
that were just being built, and does nothing go that belongs to other objects? Who knows no tags would have to remember
for whom it made copies.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from types import ModuleType
from typing import Any

from benchmarks.races.scenario import (
    PATIENCE_S,
    Beside,
    Caller,
    Cell,
    Source,
    judged,
    named,
    not_offered,
    opened,
    until,
)

TITLE = "A copy for each user"
ROWS = {
    "copies": "old copies after the invalidation",
    "building": "the same, all of them just being built",
    "process": "the same, invalidated from another process",
    "others": "copies of other objects that went too",
}
# Gates force the order, so whoever runs beside it can only slow it down.
N_AT_ONCE = 2
_NO_TAGS = "no tags"
_NAME = "shown_there"
_TOGETHER_S = 1.0


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """All rows."""
    n_users, n_objects = (5, 2) if is_quick else (50, 4)
    with opened(peer, place) as caller:
        if not {"tag_function", "tag"} & caller.adapter.offers:
            return dict.fromkeys(ROWS, not_offered(_NO_TAGS))
        copies, others = _stored(_Copies(caller, "shown"), n_users, n_objects)
        return {
            "copies": copies,
            "building": _building(_Copies(caller, "shown_then"), n_users, n_objects),
            "process": _process(caller, peer, place, n_users, n_objects),
            "others": others,
        }


def beside(caller: Caller) -> Callable[[Any], Any]:
    """The writer of another process."""
    copies = _Copies(caller, _NAME)
    return copies.invalidate


class _Copies:
    """What `item` looks like to `user`: a decorated function where it takes tags, by hand elsewhere."""

    def __init__(self, caller: Caller, name: str) -> None:
        self.caller = caller
        self.source = Source()
        self._name = name
        source = self.source

        def shown(item: int, user: int) -> int:  # noqa: ARG001 - under it the copy is kept
            found = source.read(item)
            source.gate.stop()
            return found

        async def shown_async(item: int, user: int) -> int:  # noqa: ARG001 - likewise
            found = source.read(item)
            await source.gate.astop()
            return found

        self._load = named(shown_async if caller.adapter.is_async else shown, name)
        is_decorated = "tag_function" in caller.adapter.offers
        tags = (f"{name}:{{item}}",)
        self._function = caller.adapter.cached(self._load, tags=tags) if is_decorated else None

    def start(self, item: int, user: int) -> "Future[int]":
        """Read the copy."""
        if self._function is not None:
            return self.caller.start(self._function, item, user)
        tags = (f"{self._name}:{item}",)
        return self.caller.start(self.caller.aside(f"{self._name} {item} {user}", self._load, item, user, tags=tags))

    def read(self, item: int, user: int) -> int:
        """What the user is shown."""
        return int(self.start(item, user).result(PATIENCE_S))

    def invalidate(self, item: int) -> None:
        """All copies of it."""
        self.caller(self.caller.adapter.invalidate_tag, f"{self._name}:{item}")


def _stored(copies: _Copies, n_users: int, n_objects: int) -> tuple[Cell, Cell]:
    for item, user in _all(n_users, n_objects):
        copies.read(item, user)
    copies.source.truths[0] = 1
    copies.invalidate(0)
    n_stale = sum(copies.read(0, user) < 1 for user in range(n_users))
    n_read = copies.source.n_reads
    for item, user in _all(n_users, n_objects):
        if item != 0:
            copies.read(item, user)
    n_others = copies.source.n_reads - n_read
    return judged(n_stale, n_users), judged(n_others, n_users * (n_objects - 1), "dropped")


def _building(copies: _Copies, n_users: int, n_objects: int) -> Cell:
    n_stale = n_read = 0
    for item in range(n_objects):
        gate = copies.source.shut()
        n_before = copies.source.n_reads
        readings = [copies.start(item, user) for user in range(n_users)]
        gate.wait_until_reached()
        _settle(copies, n_before + n_users)
        copies.source.truths[item] = 1
        copies.invalidate(item)
        gate.open()
        wait(readings, PATIENCE_S)
        n_stale += sum(copies.read(item, user) < 1 for user in range(n_users))
        n_read += n_users
    return judged(n_stale, n_read)


def _process(caller: Caller, peer: ModuleType, place: dict[str, str], n_users: int, n_objects: int) -> Cell:
    if "processes" not in caller.adapter.offers:
        return not_offered("one process")
    copies, n_stale = _Copies(caller, _NAME), 0
    with Beside(peer, "per_user", place) as other:
        for item, user in _all(n_users, n_objects):
            copies.read(item, user)
        for item in range(n_objects):
            copies.source.truths[item] = 1
            other.ask(item)
            n_stale += sum(copies.read(item, user) < 1 for user in range(n_users))
    return judged(n_stale, n_users * n_objects)


def _settle(copies: _Copies, n_wanted: int) -> None:
    """Wait until all are in their bodies, as far as the library lets them be there at once."""
    with suppress(TimeoutError):
        until(lambda: copies.source.n_reads >= n_wanted, "all bodies", _TOGETHER_S)


def _all(n_users: int, n_objects: int) -> Iterator[tuple[int, int]]:
    return ((item, user) for item in range(n_objects) for user in range(n_users))
