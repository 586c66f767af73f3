"""Telling: whoever listens is told of each step's records before the step is answered; a closed store says so."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from collections.abc import Sequence

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.model.errors import StoreClosed
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Load, Put
from everfresh.testing.by_hand import ByHand, put_of
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")


class TellContract(StoreFixtures):
    """Listeners, both colours of asking, and the end."""

    def test_listeners_are_told_each_record_once(self, hand: ByHand) -> None:
        """In the order of the feed."""
        told: list[FeedRecord] = []
        hand.store.listen(told.extend)
        begin = hand.position()

        hand.build("k", 1, A)
        hand.touch(A)
        hand.delete("k")

        assert told == hand.feed(begin)

    def test_a_step_without_records_tells_nothing(self, hand: ByHand) -> None:
        """Reading, leasing and dry events leave no trace in the feed."""
        told: list[FeedRecord] = []
        hand.store.listen(told.extend)

        hand.lease("k")
        hand.load("k")
        hand.touch(A)

        assert told == []

    def test_a_new_life_is_told_without_records(self, hand: ByHand) -> None:
        """Whoever follows forgets everything: there are no records of all that is in doubt now.

        Of what is dropped for that later, in steps of their own, some stores tell.
        """
        hand.build("k", 1, A)
        hand.put("put", 1)
        told: list[Sequence[FeedRecord]] = []
        hand.store.listen(told.append)

        hand.store.carry_out(Distrust("a loss"))

        assert list(told[0]) == []
        assert {record.kind for records in told[1:] for record in records} <= {Kind.DROPPED}

    async def test_asking_asynchronously_is_asking(self, hand: ByHand) -> None:
        """The same steps, the same answers."""
        assert await hand.store.carry_out_async(put_of("k", 1, A))

        loaded = await hand.store.carry_out_async(Load(Key("k")))

        assert loaded == hand.load("k")

    def test_a_closed_store_says_so(self, hand: ByHand) -> None:
        """For reading and for writing; closing again does nothing."""
        request: Put = put_of("k", 1)
        hand.store.close()
        hand.store.close()

        with pytest.raises(StoreClosed):
            hand.load("k")
        with pytest.raises(StoreClosed):
            hand.store.carry_out(request)

    async def test_a_closed_store_says_so_asynchronously(self, hand: ByHand) -> None:
        """The same, without keeping a loop waiting."""
        hand.store.close()

        with pytest.raises(StoreClosed):
            await hand.store.carry_out_async(put_of("k", 1))
