"""Publishing: from events to what they touch, to one atomic step of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import assert_never

import msgspec

from everfresh.matching.covering import touched_by_patterns
from everfresh.matching.index import Generation, ShapeIndex, Shapes
from everfresh.matching.shapes import Bucket
from everfresh.matching.triage import Touched, Widening, touched_by_events, touched_by_name
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Key
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply, Candidates, Judge, Mention, ShapesMoved
from everfresh.protocol.requests import Put, Steps, ask
from everfresh.protocol.sourcing import Offset

Spared = Mapping[Bucket, frozenset[Key]]
"""The entries in each predicate's bucket that it spares."""

_MAX_TEXT = 300
_NOBODY: Spared = {}


class Published(msgspec.Struct, frozen=True):
    """What came of events: where they stand, what was touched, and which shapes had to be touched as a whole.

    `n_judged` is how many candidates predicates were asked about.
    """

    applied: Applied
    widened: tuple[Widening, ...]
    n_judged: int


def publish(
    events: Sequence[Event],
    shapes: Shapes,
    *,
    cause: tuple[str, ...] = (),
    encode: Callable[[Event], bytes | None] | None = None,
    puts: tuple[Put, ...] = (),
    is_dry: bool = False,
) -> Steps[Published]:
    """Apply the events as one step; with `is_dry` only say what they would touch.

    `cause` is the chain of builds that publish them. Entries that ask for it keep the event as `encode` writes it.
    `puts` are those to come of values that show the events.
    """
    mentions = tuple([Mention(text_of(event), event) for event in events])

    def apply(touched: Touched, generation: Generation, told: tuple[Mention, ...], spared: Spared) -> Apply:
        return Apply(touched, generation, told, spared, cause, encode, is_dry, puts)

    return _apply(partial(touched_by_events, events), shapes, mentions, events, apply)


def invalidate(
    dependencies: Sequence[Dependency], shapes: Shapes, *, cause: tuple[str, ...] = (), puts: tuple[Put, ...] = ()
) -> Steps[Published]:
    """Touch by name, as if an event had come."""
    mentions = tuple(Mention(f"invalidated {_name_of(dependency)}") for dependency in dependencies)

    def apply(touched: Touched, generation: Generation, told: tuple[Mention, ...], spared: Spared) -> Apply:
        return Apply(touched, generation, told, spared, cause, puts=puts)

    return _apply(partial(touched_by_name, dependencies), shapes, mentions, (), apply)


def take_in(
    events: Sequence[Event],
    shapes: Shapes,
    *,
    offsets: tuple[Offset, ...],
    encode: Callable[[Event], bytes | None] | None = None,
) -> Steps[Published]:
    """Apply what sources brought, and how far each has come with it, as one step; there may be no events in it."""
    mentions = tuple([Mention(text_of(event), event) for event in events])

    def apply(touched: Touched, generation: Generation, told: tuple[Mention, ...], spared: Spared) -> Apply:
        return Apply(touched, generation, told, spared, encode=encode, offsets=offsets)

    return _apply(partial(touched_by_events, events), shapes, mentions, events, apply)


def suspect(patterns: Sequence[str], reason: str, shapes: Shapes, *, per_s: float) -> Steps[Published]:
    """Touch all that events with such topics could, as some may have been lost; due so many a second."""
    mentions = (Mention(writable(reason[:_MAX_TEXT])),)

    def apply(touched: Touched, generation: Generation, told: tuple[Mention, ...], spared: Spared) -> Apply:
        return Apply(touched, generation, told, spared, per_s=per_s)

    return _apply(partial(touched_by_patterns, patterns), shapes, mentions, (), apply)


def learn(shapes: Shapes) -> Steps[None]:
    """Learn the shapes that the store knows by now."""
    while True:
        answer = yield from ask(Apply(Touched(), shapes.index.generation, (), is_dry=True))
        if not isinstance(answer, ShapesMoved):
            return
        shapes.learn(answer.after, answer.shapes)


def text_of(event: Event) -> str:
    """The event in one line for people: its topic and its id."""
    text = f"event {event.topic} {event.id}" if event.id else f"event {event.topic}"
    return writable(text[:_MAX_TEXT])


def _name_of(dependency: Dependency) -> str:
    return writable(repr(dependency)[:_MAX_TEXT])


def writable(text: str) -> str:
    """The text as a store can keep it: half of a surrogate pair has no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _apply(
    triage: Callable[[ShapeIndex], Touched],
    shapes: Shapes,
    mentions: tuple[Mention, ...],
    events: Sequence[Event],
    apply: Callable[[Touched, Generation, tuple[Mention, ...], Spared], Apply],
) -> Steps[Published]:
    while True:
        # The generation is read before triage: shapes learnt meanwhile by another thread only add buckets.
        index = shapes.index
        generation = index.generation
        touched = triage(index)
        n_judged, spared = (yield from _judged(touched, events)) if touched.predicates else (0, _NOBODY)
        told = _told(mentions, touched.widened) if touched.widened else mentions
        answer = yield from ask(apply(touched, generation, told, spared))
        match answer:
            case Applied():
                return Published(answer, touched.widened, n_judged)
            case ShapesMoved():
                shapes.learn(answer.after, answer.shapes)
            case _:
                assert_never(answer)


def _judged(touched: Touched, events: Sequence[Event]) -> Steps[tuple[int, Spared]]:
    """Ask predicates about the entries that stand there now; those that come later are touched, which costs little."""
    candidates = yield from ask(Candidates(tuple(touched.predicates)))
    if not candidates:
        return 0, _NOBODY
    spared = yield from ask(Judge(candidates, tuple(events), touched.predicates))
    return len(candidates), spared


def _told(mentions: tuple[Mention, ...], widened: Sequence[Widening]) -> tuple[Mention, ...]:
    """The mentions, each with why it touched more than it says."""
    reasons: dict[int, dict[str, None]] = {}
    for widening in widened:
        reasons.setdefault(widening.event, {})[widening.reason] = None
    return tuple(
        msgspec.structs.replace(mention, text=f"{mention.text} (widened: {', '.join(reasons[number])})"[:_MAX_TEXT])
        if number in reasons
        else mention
        for number, mention in enumerate(mentions)
    )
