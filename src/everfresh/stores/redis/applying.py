"""Events that touch very many entries: the server would stand still for all, so they are touched in several steps.

The first step leaves the marks, so that no build under way passes an event by, and touches as many as one step may. The
others follow before the publisher hears that it is done: until then nobody may rely on the event.
"""

from __future__ import annotations

from dataclasses import dataclass

from everfresh.model.entry import Key
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, ShapesMoved
from everfresh.protocol.requests import Request, Steps, ask

# At about 30 us an entry a step takes some 15 ms, which others notice little.
MAX_TOUCHED = 500

Left = tuple[tuple[Key, int], ...]
"""Keys that are still to be touched, each with the number of the event that touches it."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What the first step came to, and what it left."""

    applied: Applied | ShapesMoved
    left: Left = ()


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
    """Touch these for events that were applied at the position."""

    left: Left
    at: Position
    apply: Apply


@dataclass(frozen=True, slots=True)
class ApplyToShard(Request["Applied | ShapesMoved"]):
    """Apply to one shard what others are sent too."""

    apply: Apply
    once: Once


def apply(request: Apply, once: Once | None = None) -> Steps[Applied | ShapesMoved]:
    """Carry out `Apply`."""
    begun = yield from ask(ApplyFirst(request, once))
    if isinstance(begun.applied, ShapesMoved) or not begun.left:
        return begun.applied
    applied, touched, suspect = begun.applied, [*begun.applied.touched], [*begun.applied.suspect]
    position = applied.position
    for start in range(0, len(begun.left), MAX_TOUCHED):
        more = yield from ask(Touch(begun.left[start : start + MAX_TOUCHED], applied.position, request))
        if isinstance(more.applied, Applied):
            position = more.applied.position
            touched += more.applied.touched
            suspect += more.applied.suspect
    return Applied(position, tuple(dict.fromkeys(touched)), tuple(dict.fromkeys(suspect)), applied.outrun)
