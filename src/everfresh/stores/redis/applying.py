"""Events that touch very many entries: the server would stand still for all, so they are touched in several steps.

The first step leaves the marks, so that no build under way passes an event by, and touches as many as one step may. The
others follow before the publisher hears that it is done: until then nobody may rely on the event. The last one writes
the offsets of sources: they stand for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from everfresh.model.entry import Key
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, ShapesMoved
from everfresh.protocol.requests import Request, Steps, ask
from everfresh.stores.redis.pacing import Placed, joined, paces

# At about 30 us an entry a step takes some 15 ms, which others notice little.
MAX_TOUCHED = 500

Left = tuple[tuple[Key, int], ...]
"""Keys that are still to be touched, each with the number of the event that touches it."""


class Begun(msgspec.Struct, frozen=True):
    """What a step came to, what it left, and of what is touched at a pace, which places were given."""

    applied: Applied | ShapesMoved
    left: Left = ()
    placed: Placed | None = None


class Once:
    """What of an event is the same for all shards, encoded once; empty before that."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: dict[str, object] = {}


@dataclass(frozen=True, slots=True)
class ApplyFirst(Request[Begun]):
    """Apply, and touch as many as one step may; `once` is given where others are sent the same."""

    apply: Apply
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Touch(Request[Begun]):
    """Touch these for events that were applied at the position, after so many that have their places.

    With `is_last`, the offsets of sources stand after it.
    """

    left: Left
    at: Position
    apply: Apply
    n_before: int = 0
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class ApplyToShard(Request[Begun]):
    """Apply to one shard what others are sent too."""

    apply: Apply
    once: Once


def apply(request: Apply) -> Steps[Applied | ShapesMoved]:
    """Carry out `Apply`."""
    begun = yield from begin(request)
    if begun.placed is not None and request.per_s is not None:
        for pace in paces({0: begun.placed}, request.per_s).get(0, ()):
            yield from ask(pace)
    return begun.applied


def begin(request: Apply, once: Once | None = None) -> Steps[Begun]:
    """Carry it out, but for the places over several steps."""
    begun = yield from ask(ApplyFirst(request, once))
    if isinstance(begun.applied, ShapesMoved) or not begun.left:
        return begun
    applied, touched, suspect = begun.applied, [*begun.applied.touched], [*begun.applied.suspect]
    position, placed = applied.position, begun.placed
    for start in range(0, len(begun.left), MAX_TOUCHED):
        some, is_last = begun.left[start : start + MAX_TOUCHED], start + MAX_TOUCHED >= len(begun.left)
        n_before = 0 if placed is None else len(placed.places)
        more = yield from ask(Touch(some, applied.position, request, n_before, is_last))
        if isinstance(more.applied, Applied):
            position = more.applied.position
            touched += more.applied.touched
            suspect += more.applied.suspect
            placed = joined(placed, more.placed)
    whole = Applied(position, tuple(dict.fromkeys(touched)), tuple(dict.fromkeys(suspect)), applied.outrun)
    return Begun(whole, placed=placed)
