"""Sources: how far each has come, how it fares, and what nobody could read; one step with what is applied."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.matching.index import Generation
from everfresh.matching.triage import Touched
from everfresh.model.dependency import Topic
from everfresh.model.entry import State
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply, ShapesMoved
from everfresh.protocol.publishing import take_in
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Register
from everfresh.protocol.sourcing import (
    MAX_REPORTS,
    Forget,
    Offset,
    Quarantine,
    ReadSources,
    Release,
    Report,
    Sources,
    SourceState,
    Tell,
)
from everfresh.testing.by_hand import ByHand, shapes_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures
from everfresh.testing.contract.quarantining import QuarantineContract, unreadable

BUG = Topic("bug.*")
BUG_CHANGED = Event("bug.update", {"bug": 7}, id="e1")
# What a source may say, and a store must not read anything into.
TEXTS = ["5", "", "1690000000000-0", "0", "a b\n\x00c", "größer 𝄞", "x" * 5_000]


class OffsetContract(StoreFixtures):
    """`Apply.offsets`, and `ReadSources` of them."""

    def test_an_offset_stands_with_its_events(self, hand: ByHand) -> None:
        """What it stands for is applied, in the same step."""
        hand.build("k", 1, BUG)

        applied = _taken_in(hand, BUG_CHANGED, offsets=(Offset("bus", "5"),))

        assert applied.touched == ("k",)
        assert _offsets(hand) == {"bus": "5"}

    def test_a_later_offset_stands_for_an_earlier_one(self, hand: ByHand) -> None:
        """The last that was applied counts, whatever its text: what comes after which the source alone knows."""
        for text in ("5", "7", "6"):
            _taken_in(hand, BUG_CHANGED, offsets=(Offset("bus", text),))

        assert _offsets(hand) == {"bus": "6"}

    def test_each_source_has_its_own(self, hand: ByHand) -> None:
        """Several may come in one step; of two of one source the last stands."""
        _taken_in(hand, BUG_CHANGED, offsets=(Offset("bus", "5"), Offset("rows", "1"), Offset("bus", "6")))
        _taken_in(hand, BUG_CHANGED, offsets=(Offset("rows", "2"),))
        hand.publish(BUG_CHANGED)

        assert _offsets(hand) == {"bus": "6", "rows": "2"}

    def test_an_offset_may_come_without_events(self, hand: ByHand) -> None:
        """A source came further, and there was nothing to apply."""
        hand.build("k", 1, BUG)

        applied = _taken_in(hand, offsets=(Offset("bus", "5"),))

        assert (applied.touched, applied.suspect) == ((), ())
        assert hand.state("k") is State.FRESH
        assert _offsets(hand) == {"bus": "5"}

    @pytest.mark.parametrize("text", TEXTS)
    def test_an_offset_is_any_text(self, hand: ByHand, text: str) -> None:
        """It comes back as it was given, under whatever name."""
        _taken_in(hand, offsets=(Offset(f"source {text}", text),))

        assert _offsets(hand) == {f"source {text}": text}

    def test_a_refused_apply_leaves_the_offset(self, hand: ByHand) -> None:
        """Nothing of it was applied: neither of an old generation nor of another life."""
        hand.store.carry_out(Register(shapes_of(BUG)))
        epoch = hand.position().epoch
        offsets = (Offset("bus", "5"),)

        for generation in (Generation(epoch, 0), Generation("another life", 1)):
            answer = hand.store.carry_out(Apply(Touched(), generation, (), offsets=offsets))
            assert isinstance(answer, ShapesMoved)

        assert _offsets(hand) == {}

    def test_a_dry_apply_leaves_the_offset(self, hand: ByHand) -> None:
        """With `is_dry`, nothing changes."""
        epoch = hand.position().epoch
        request = Apply(Touched(), Generation(epoch, 0), (), is_dry=True, offsets=(Offset("bus", "5"),))

        # Of several shards only all together know the generation; whatever is answered, nothing is written.
        hand.store.carry_out(request)

        assert _offsets(hand) == {}

    def test_an_offset_outlives_a_loss(self, hand: ByHand) -> None:
        """It is as old as the store that was put back, so to go on from it brings again what was lost."""
        _taken_in(hand, BUG_CHANGED, offsets=(Offset("bus", "5"),))

        hand.store.carry_out(Distrust("the file was put back"))

        assert _offsets(hand) == {"bus": "5"}


class ReportContract(StoreFixtures):
    """Tell and ReadSources."""

    def test_a_report_comes_back(self, hand: ByHand, clock: FakeClock) -> None:
        """As it was told, with the store's time of that."""
        told = _report(
            topics=("bug.#", "größer"),
            last_event_at=clock() - 3.0,
            last_canary_at=clock() - 1.0,
            lag=7,
            problem="no route",
            n_events=3,
            n_unreadable=2,
            n_gaps=1,
        )

        at = hand.store.carry_out(Tell(told))
        clock.advance(5.0)

        (state,) = _sources(hand).states
        ((report, told_at),) = [(one.report, one.at) for one in state.reports]
        assert (report, told_at) == (told, at)
        assert at == clock() - 5.0
        assert _sources(hand).now == clock()
        assert (state.source, state.offset, state.n_quarantined) == ("bus", None, 0)

    def test_a_consumers_last_report_stands(self, hand: ByHand, clock: FakeClock) -> None:
        """Of each consumer one, newest first; of times that are equal the last to be told is the newest."""
        for consumer in ("one", "two", "three"):
            hand.store.carry_out(Tell(_report(consumer=consumer)))
        clock.advance(1.0)
        hand.store.carry_out(Tell(_report(consumer="two", is_connected=False)))

        assert [(one.consumer, one.is_connected) for one in _reports(hand)] == [
            ("two", False),
            ("three", True),
            ("one", True),
        ]

    def test_of_each_source_the_newest_reports_are_kept(self, hand: ByHand, clock: FakeClock) -> None:
        """A consumer with another name at each start does not fill the store."""
        for number in range(MAX_REPORTS + 8):
            hand.store.carry_out(Tell(_report(consumer=f"consumer {number}")))
            clock.advance(1.0)
        hand.store.carry_out(Tell(_report("other")))

        newest = [f"consumer {number}" for number in range(8, MAX_REPORTS + 8)]
        assert [one.consumer for one in _reports(hand)] == newest[::-1]
        assert len(_reports(hand, "other")) == 1

    def test_sources_are_in_the_order_of_their_names(self, hand: ByHand) -> None:
        """Each once, whatever is known of it: a report, an offset, or what nobody could read."""
        hand.store.carry_out(Tell(_report("c")))
        _taken_in(hand, offsets=(Offset("a", "1"), Offset("c", "2")))
        hand.store.carry_out(Quarantine((unreadable("1", source="b"), unreadable("2", source="c"))))

        found = [(one.source, one.offset, len(one.reports), one.n_quarantined) for one in _sources(hand).states]

        assert found == [("a", "1", 0, 0), ("b", None, 0, 1), ("c", "2", 1, 1)]

    def test_some_sources_can_be_asked_for(self, hand: ByHand) -> None:
        """Of one that nobody knows there is nothing, and of one that is named twice no more than once."""
        assert _sources(hand).states == ()
        _taken_in(hand, offsets=(Offset("a", "1"), Offset("b", "2"), Offset("c", "3")))

        assert [one.source for one in _sources(hand, "c", "nobody", "a", "c").states] == ["a", "c"]
        assert _sources(hand, "nobody").states == ()
        assert hand.store.carry_out(ReadSources(())).states == ()


class ForgetContract(StoreFixtures):
    """Forget."""

    def test_a_forgotten_source_is_gone(self, hand: ByHand) -> None:
        """With its offset and its reports; others stay, and each counts once that was known."""
        for source in ("a", "b", "c"):
            hand.store.carry_out(Tell(_report(source)))
        _taken_in(hand, offsets=(Offset("a", "1"), Offset("c", "2"), Offset("d", "3")))

        assert hand.store.carry_out(Forget(("a", "nobody", "d", "b", "a"))) == len(("a", "b", "d"))

        assert [(one.source, one.offset, len(one.reports)) for one in _sources(hand).states] == [("c", "2", 1)]
        assert _sources(hand, "a", "b", "d").states == ()
        assert hand.store.carry_out(Forget(("a", "b"))) == 0
        assert hand.store.carry_out(Forget(())) == 0

    def test_what_a_forgotten_source_has_in_quarantine_stays(self, hand: ByHand) -> None:
        """It is shown with that alone, until it is released."""
        hand.store.carry_out(Tell(_report("a")))
        hand.store.carry_out(Quarantine((unreadable("1", source="a"),)))

        assert hand.store.carry_out(Forget(("a",))) == 1
        assert hand.store.carry_out(Forget(("a",))) == 0

        assert _sources(hand).states == (SourceState(source="a", offset=None, reports=(), n_quarantined=1),)
        hand.store.carry_out(Release(("1",)))
        assert _sources(hand).states == ()

    def test_a_forgotten_source_may_come_again(self, hand: ByHand) -> None:
        """It begins without an offset, and is known as soon as it tells."""
        _taken_in(hand, offsets=(Offset("a", "1"),))
        hand.store.carry_out(Forget(("a",)))
        hand.store.carry_out(Tell(_report("a")))
        assert _offsets(hand) == {"a": None}

        _taken_in(hand, offsets=(Offset("a", "2"),))

        assert _offsets(hand) == {"a": "2"}


class SourceContract(OffsetContract, ReportContract, ForgetContract, QuarantineContract):
    """Everything that a store keeps for sources."""


def _taken_in(hand: ByHand, *events: Event, offsets: tuple[Offset, ...]) -> Applied:
    return hand.run(take_in(events, hand.shapes, offsets=offsets)).applied


def _sources(hand: ByHand, *names: str) -> Sources:
    return hand.store.carry_out(ReadSources(names or None))


def _offsets(hand: ByHand) -> dict[str, str | None]:
    return {state.source: state.offset for state in _sources(hand).states}


def _reports(hand: ByHand, source: str = "bus") -> list[Report]:
    states: tuple[SourceState, ...] = _sources(hand, source).states
    return [told.report for state in states for told in state.reports]


def _report(  # noqa: PLR0913 - one for each field
    source: str = "bus",
    *,
    consumer: str = "host:1",
    is_connected: bool = True,
    topics: tuple[str, ...] = ("#",),
    last_event_at: float | None = None,
    last_canary_at: float | None = None,
    lag: int | None = None,
    problem: str = "",
    n_events: int = 0,
    n_unreadable: int = 0,
    n_gaps: int = 0,
) -> Report:
    return Report(
        source=source,
        consumer=consumer,
        is_connected=is_connected,
        topics=topics,
        last_event_at=last_event_at,
        last_canary_at=last_canary_at,
        lag=lag,
        problem=problem,
        n_events=n_events,
        n_unreadable=n_unreadable,
        n_gaps=n_gaps,
    )
