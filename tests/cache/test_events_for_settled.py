"""What `settled` is given: the event as it was published, and None for an id that has no value."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from everfresh import Event, dep
from everfresh.cache.events import decode_event, encode_event
from everfresh.model.event import Row
from tests.cache.making import Colour, done

pytestmark = pytest.mark.redis
SETTLE = (timedelta(seconds=2), timedelta(seconds=30))


@pytest.mark.parametrize(
    "value", ["plain", date(2024, 1, 1), ("a", 1), Decimal("1.10")], ids=["text", "date", "tuple", "decimal"]
)
@pytest.mark.parametrize("described", [None, frozenset({"when"}), frozenset[str]()], ids=["row", "scopes", "nothing"])
def test_an_event_keeps_what_it_describes(value: object, described: frozenset[str] | None) -> None:
    """Derived values of a list are no row, whichever way the event is written."""
    event = Event("book.lists", row=Row("book", None, {"when": value}, described=described))

    assert decode_event(encode_event(event)) == event


async def test_it_is_asked_about_none_for_an_id_that_was_left_out(colour: Colour) -> None:
    """The event that comes before its new object is what it is there for, and no object is None to users."""
    asked: list[object] = []
    names: dict[int, str] = {}

    @colour.cached_many(
        depends_on=[dep.Id("user", dep.arg("ids"))],
        settle=SETTLE,
        settled=lambda event, value: asked.append(value) is None and value is not None,
    )
    async def users(ids: list[int]) -> dict[int, str]:
        return {id_: names[id_] for id_ in ids if id_ in names}

    await done(users([9]))
    await colour.cache.publish(Event.change("user", after={"id": 9}))
    early = await done(users([9]))
    names[9] = "ann"
    late = await done(users.one.refresh(9))

    assert (early, late, asked) == ({}, "ann", [None, "ann"])
