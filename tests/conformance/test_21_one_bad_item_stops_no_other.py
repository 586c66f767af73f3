"""Conformance 21: messages carry many items, and not all of them are what they should be."""

from typing import Any

import pytest

from everfresh import Event, dep
from everfresh.testing.plugin import Drain
from tests.cache.making import Colour, done

BAD_IDS: list[object] = [None, {"a": object()}, [[object()]], float("nan")]
BAD = [None, "text", 7, [], {}, object(), *({"id": bad} for bad in BAD_IDS)]


@pytest.mark.parametrize("bad", BAD, ids=[f"{number}" for number in range(len(BAD))])
async def test_the_other_items_of_the_message_are_seen(colour: Colour, drain: Drain, bad: Any) -> None:  # noqa: ANN401 - that is the point
    """21: those before the bad one and those after it."""

    @colour.cached(depends_on=[dep.Topic("bulk", where={"items.id": dep.arg("number")})])
    async def item(number: int) -> int:
        return number

    for number in (1, 2, 3):
        await done(item(number))
    await colour.cache.publish(Event("bulk", {"items": [{"id": 1}, bad, {"id": 3}]}))
    drained = await drain()

    assert {item.key(1), item.key(3)} <= set(drained.refreshed)


async def test_a_bad_item_in_a_predicate_stops_no_other_entry(colour: Colour, drain: Drain) -> None:
    """21: the entry whose predicate fails on it is rebuilt too, since nobody knows."""

    def concerns(event: Event, number: int) -> bool:
        return any(item["id"] == number for item in event.body["items"])

    @colour.cached(should_refresh=concerns, topics=["bulk"])
    async def item(number: int) -> int:
        return number

    for number in (1, 2):
        await done(item(number))
    await colour.cache.publish(Event("bulk", {"items": [{"id": 1}, None]}))
    drained = await drain()

    assert {item.key(1)} <= set(drained.refreshed)
