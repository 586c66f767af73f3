"""Events that touch very many entries: the server would stand still for all, so they are touched in several steps.

The first step leaves the marks, so that no build under way passes an event by. If it finds more than one step may
touch, it touches none: the others go through what the event names, bucket by bucket, each as far as it may. They follow
before the publisher hears that it is done: until then nobody may rely on the event. The last one writes the offsets of
sources: they stand for all of it.

Rules
- They go in the order of the events, so that the last one to touch an entry is the last that happened.
- Who comes to stand there meanwhile was built, or judged by the marks, after the event: it is left alone.
- No step knows whom others have touched. Who stands in two places is touched twice, and told of once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import msgspec

from everfresh.matching.probes import Probe
from everfresh.matching.shapes import Bucket
from everfresh.model.entry import Key
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, ShapesMoved
from everfresh.protocol.requests import Request, Steps, ask
from everfresh.stores.redis.pacing import Placed, Places, paces

# At about 60 us an entry a step takes some 30 ms, which others notice little.
MAX_TOUCHED = 500
# Where hardly anybody stands, a step looks at so many buckets.
N_ITEMS = 1000


class Item(msgspec.Struct, frozen=True):
    """Something that an event touches, by its number: a bucket or a shape, a probe, or the key of an entry.

    Of a predicate's bucket the names are asked for. `cursor` says how far others have come.
    """

    kind: Literal["bucket", "shape", "probe", "names", "key"]
    what: bytes | Probe | Key
    event: int
    cursor: str | None = None


class Left(msgspec.Struct, frozen=True):
    """What a step left: how many items it has done, and how far it came in the next one.

    Those buckets and keys are to be items before that one.
    """

    n_done: int
    cursor: str | None = None
    buckets: tuple[Bucket, ...] = ()
    keys: tuple[Key, ...] = ()


class Begun(msgspec.Struct, frozen=True):
    """What a step came to, what it left, and of what is touched at a pace, which places were given."""

    applied: Applied | ShapesMoved
    left: Left | None = None
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
    """Touch some of these for events that were applied at the position, after so many that have their places.

    With `is_last`, the offsets of sources stand if nothing is left.
    """

    items: tuple[Item, ...]
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
    if isinstance(begun.applied, ShapesMoved) or begun.left is None:
        return begun
    done, waiting = _Done(begun.applied.position), deque(_items_of(request))
    done.add(begun)
    while waiting:
        some = tuple(islice(waiting, N_ITEMS))
        touch = Touch(some, begun.applied.position, request, len(done.places), len(some) == len(waiting))
        more = yield from ask(touch)
        done.add(more)
        left = Left(len(some)) if more.left is None else more.left
        for _ in range(left.n_done):
            waiting.popleft()
        if left.n_done < len(some):
            waiting[0] = msgspec.structs.replace(waiting[0], cursor=left.cursor or waiting[0].cursor)
        waiting.extendleft(reversed(_found(request, some, left)))
    return Begun(done.applied(begun.applied.outrun), placed=done.places.placed())


def _items_of(request: Apply) -> list[Item]:
    touched = request.touched
    items = [Item("bucket", bucket, event) for bucket, event in touched.buckets.items()]
    items += [Item("shape", shape, event) for shape, event in touched.shapes.items()]
    items += [Item("probe", probe, probe.event) for probe in touched.probes]
    items += [Item("names", bucket, events[-1]) for bucket, events in touched.predicates.items()]
    return sorted(items, key=lambda item: item.event)


def _found(request: Apply, some: Sequence[Item], left: Left) -> list[Item]:
    """What was found in the item at which the step has ended."""
    if not left.buckets and not left.keys:
        return []
    # It is done, unless there is more to be found.
    item = some[left.n_done if left.cursor is not None else left.n_done - 1]
    found = [Item("bucket", bucket, item.event) for bucket in left.buckets]
    spared = request.spared.get(Bucket(item.what), ()) if item.kind == "names" and isinstance(item.what, bytes) else ()
    return found + [Item("key", key, item.event) for key in left.keys if key not in spared]


@dataclass(slots=True)
class _Done:
    """What all steps came to."""

    position: Position
    touched: dict[Key, None] = field(default_factory=dict)
    suspect: dict[Key, None] = field(default_factory=dict)
    places: Places = field(default_factory=Places)

    def add(self, begun: Begun) -> None:
        if isinstance(begun.applied, Applied):
            self.position = begun.applied.position
            self.touched.update(dict.fromkeys(begun.applied.touched))
            self.suspect.update(dict.fromkeys(begun.applied.suspect))
            self.places.add(begun.placed)

    def applied(self, outrun: frozenset[int]) -> Applied:
        return Applied(self.position, tuple(self.touched), tuple(self.suspect), outrun)
