"""The tables in memory, where they differ from those in a file: what is forgotten, and what an interrupt leaves."""

from collections.abc import Sequence

import pytest

from everfresh.matching.shapes import stem_of
from everfresh.model.conditions import lt
from everfresh.model.dependency import Tag, Topic
from everfresh.model.entry import FeedRecord, Key, Terms
from everfresh.model.event import Event
from everfresh.protocol.publishing import publish
from everfresh.stores.memory import MemoryStore, MemoryTables
from everfresh.stores.tables import NO_ROOM_LIMIT, Row
from everfresh.testing.by_hand import ByHand, groups_of

NEWS = Topic("news")


def test_conditions_that_nobody_asks_any_more_are_forgotten() -> None:
    """Else whoever asks for another price each day fills the memory, and every event looks at all of them."""
    tables = MemoryTables(NO_ROOM_LIMIT)
    cheap = groups_of(Topic("book", {"price": lt(9)}))
    stem = stem_of(cheap[0].buckets()[0])
    one, other = (Row(key=Key(name), recipe=None) for name in ("one", "other"))
    for row in (one, other):
        tables.save(row)
        tables.relink(row, cheap)

    tables.relink(one, ())
    assert len(tables.conditions(stem)) == 1
    tables.relink(other, groups_of(Tag("t")))

    assert tables.conditions(stem) == ()


def test_who_listens_is_told_that_an_interrupt_has_ended_a_life() -> None:
    """What near caches hold is of a store that is no more."""
    store = MemoryStore()
    hand = ByHand(store)
    hand.build("k", 1, NEWS, terms=Terms(keeps_event=True))
    told: list[Sequence[FeedRecord]] = []
    store.listen(told.append)

    def interrupt(_event: Event) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hand.run(publish([Event("news")], hand.shapes, encode=interrupt))

    assert [list(records) for records in told] == [[]]
    assert hand.state("k") is None
