"""Conformance 15: predicates are the users' code, and functions come and go."""

import logging

import pytest

from everfresh import Cache, Event, Notice
from everfresh.refresh import Worker
from everfresh.testing.plugin import AssertTouches, Drain
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done


async def test_a_predicate_that_raises_is_logged_and_counted_and_the_others_still_run(
    colour: Colour, drain: Drain, caplog: pytest.LogCaptureFixture
) -> None:
    """15: the one that raises counts as yes; those after it and before it answer for themselves."""
    told: list[Notice] = []
    colour.cache.listen(told.append)

    def concerns(event: Event, number: int) -> bool:
        if number == 5:
            raise ZeroDivisionError("a bug in the predicate")
        return number == event.body["number"]

    @colour.cached(should_refresh=concerns, topics=["message"], key="n:{number}")
    async def value(number: int) -> int:
        return number

    for number in range(10):
        await done(value(number))
    await colour.cache.publish(Event("message", {"number": 8}))
    drained = await drain()

    failures = [notice.fields for notice in told if notice.name == "predicate.failed"]
    (applied,) = [notice.fields for notice in told if notice.name == "event.applied"]
    assert sorted(drained.refreshed) == ["n:5", "n:8"]
    assert [(failure["key"], failure["topic"]) for failure in failures] == [("n:5", "message")]
    assert "a bug in the predicate" in failures[0]["error"]
    assert applied["n_predicates"] == 10
    assert [record.levelno for record in caplog.records if "predicate.failed" in record.message] == [logging.WARNING]


async def test_a_predicate_does_not_run_for_other_topics(colour: Colour, assert_touches: AssertTouches) -> None:
    """15: it is asked about what it subscribed to."""
    asked: list[str] = []

    def concerns(event: Event) -> bool:
        asked.append(event.topic)
        return True

    @colour.cached(should_refresh=concerns, topics=["message.*"])
    async def value() -> int:
        return 1

    await done(value())
    assert_touches(Event("other.new"), [])
    assert_touches(Event("message.new"), [value.key()])

    assert asked == ["message.new"]


async def test_a_function_declared_while_the_system_runs_receives_events(cache: Cache) -> None:
    """15: without a restart, by its predicate and by its dependencies."""
    built: list[str] = []
    async with Worker(cache):
        await cache.publish(Event("message", {"number": 1}))

        @cache.cached(should_refresh=lambda event: event.body["number"] == 2, topics=["message"])
        async def late() -> int:
            built.append("late")
            return len(built)

        await late()
        await cache.publish(Event("message", {"number": 1}))
        await cache.publish(Event("message", {"number": 2}))
        await soon(lambda: built == ["late"] * 2, what="the refresh")
