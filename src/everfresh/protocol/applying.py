"""Requests that apply events: what predicates say of candidates, and the step that touches entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from everfresh.matching.index import Generation
from everfresh.matching.shapes import Bucket, Shape
from everfresh.matching.triage import Touched
from everfresh.model.entry import Key, Recipe
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.requests import Put, Request
from everfresh.protocol.sourcing import Offset


@dataclass(frozen=True, slots=True)
class ShapesMoved:
    """The store knows shapes that the asker does not: those after the generation, in order; of a new list, all."""

    after: Generation
    shapes: tuple[Shape, ...]


# Structs, unlike most requests: `Mention`, `Applied` and `Apply` are made at each publish, and each field of a frozen
# dataclass costs 0.13 µs.
class Mention(msgspec.Struct, frozen=True):
    """An event as it is told to people, and the event itself, None when dependencies were named."""

    text: str
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry whose function's predicate decides whether an event touches it."""

    bucket: Bucket
    key: Key
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Candidates(Request[tuple[Candidate, ...]]):
    """The entries in the buckets of predicates, with their recipes."""

    buckets: tuple[Bucket, ...]


class Applied(msgspec.Struct, frozen=True):
    """The events are applied; keys of what was touched directly, and of what is suspect because of it.

    `outrun` are the numbers of the puts to come that would have been refused before these events.
    """

    position: Position
    touched: tuple[Key, ...]
    suspect: tuple[Key, ...]
    outrun: frozenset[int] = frozenset()


class Apply(Request[Applied | ShapesMoved], msgspec.Struct, frozen=True):
    """Apply what events touch. Refused when the store knows other shapes than `generation`, as triage was incomplete.

    `mentions` are the events, by the numbers that `touched` names. Of a predicate's bucket all entries are touched but
    those that it `spared`. `cause` is the chain of builds that published them. Entries whose terms ask for it keep the
    event as `encode` writes it. With `is_dry`, nothing changes. `puts` will follow, of values that show these events;
    they are only looked at: whether an earlier event has outrun them can be told no more once these have left marks.
    `offsets` are those of sources that have come so far with these events, and stand once all of it is applied. With
    `per_s` what is touched falls due one after the other, so many a second, the most urgent first.
    """

    touched: Touched
    generation: Generation
    mentions: tuple[Mention, ...]
    spared: Mapping[Bucket, frozenset[Key]] = msgspec.field(default_factory=dict[Bucket, frozenset[Key]])
    cause: tuple[str, ...] = ()
    encode: Callable[[Event], bytes | None] | None = None
    is_dry: bool = False
    puts: tuple[Put, ...] = ()
    offsets: tuple[Offset, ...] = ()
    per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Judge(Request[Mapping[Bucket, frozenset[Key]]]):
    """Ask the predicates of functions which candidates none of the events touches; those are spared.

    `events` are the numbers of those that each bucket is to be asked about. A predicate that raises spares nobody, nor
    does one of a function that this process does not have.
    """

    candidates: tuple[Candidate, ...]
    events: tuple[Event, ...]
    numbers: Mapping[Bucket, tuple[int, ...]]
