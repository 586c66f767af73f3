"""Publishing: from events to what they touch, to one atomic step of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from everfresh.matching.triage import ShapeIndex, Touched, touched_by_events, touched_by_name
from everfresh.model.dependency import Dependency
from everfresh.model.event import Event
from everfresh.protocol.requests import Applied, Apply, ShapesMoved, Steps, ask


def publish(events: Sequence[Event], index: ShapeIndex, *, is_dry: bool = False) -> Steps[Applied]:
    """Apply the events as one step; with `is_dry` only say what they would touch."""
    return (yield from _apply(lambda: touched_by_events(events, index), index, _reason(events), is_dry=is_dry))


def invalidate(dependencies: Sequence[Dependency], index: ShapeIndex) -> Steps[Applied]:
    """Touch by name, as if an event had come."""
    return (yield from _apply(lambda: touched_by_name(dependencies, index), index, "invalidated by name"))


def _apply(triage: Callable[[], Touched], index: ShapeIndex, reason: str, *, is_dry: bool = False) -> Steps[Applied]:
    while True:
        # The generation is read before triage: shapes learnt meanwhile by another thread only add buckets.
        generation = index.generation
        answer = yield from ask(Apply(triage(), generation, reason, is_dry))
        match answer:
            case Applied():
                return answer
            case ShapesMoved():
                index.learn(generation, answer.shapes)
            case _:
                assert_never(answer)


def _reason(events: Sequence[Event]) -> str:
    if len(events) == 1:
        text = f"event {events[0].topic}" + (f" {events[0].id}" if events[0].id else "")
        return text[:300].encode("utf-8", "replace").decode()
    return f"{len(events)} events"
