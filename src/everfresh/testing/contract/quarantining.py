"""The quarantine: what nobody could read, as a store keeps it."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from msgspec.structs import replace

from everfresh.model.dependency import Tag
from everfresh.model.message import Message
from everfresh.protocol.sourcing import (
    Forget,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Release,
    Report,
    Sources,
    Tell,
    Unreadable,
)
from everfresh.testing.by_hand import ByHand
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

MESSAGE = Message(topic="bug.update", body=b"{")


class QuarantineContract(StoreFixtures):
    """Quarantine, ReadQuarantine, Release."""

    def test_a_message_comes_back_whole(self, hand: ByHand, clock: FakeClock) -> None:
        """With its headers and bytes, and the store's time, whatever time it was given."""
        message = Message(topic="bug.größer", body=b'\x00\xff{"a":', headers={"x-größe": "2", "y": ""}, id="m1")
        given = unreadable("1", message=message, at=1.0)

        assert hand.store.carry_out(Quarantine((given,))) == 0

        (found,) = _kept(hand)
        assert (found.message, found.reason, found.format) == (message, given.reason, given.format)
        assert found.at == clock()

    def test_a_message_that_comes_again_is_one(self, hand: ByHand, clock: FakeClock) -> None:
        """It stays as it is, and as old as it is; in one request, too."""
        first = clock()
        hand.store.carry_out(Quarantine((unreadable("1"), unreadable("1", reason="another"))))
        clock.advance(5.0)
        hand.store.carry_out(Quarantine((unreadable("1", reason="another"), unreadable("2"))))

        assert [(one.id, one.reason, one.at) for one in _kept(hand)] == [
            ("1", "it is no JSON", first),
            ("2", "it is no JSON", clock()),
        ]

    def test_the_newest_messages_are_kept(self, hand: ByHand) -> None:
        """The bound counts over all sources, and who asks is told how many went."""
        some = tuple(unreadable(str(number), source="a" if number % 2 else "b") for number in range(3))
        more = tuple(unreadable(str(number), source="a") for number in (3, 4))

        assert hand.store.carry_out(Quarantine(some, n_max=3)) == 0
        assert hand.store.carry_out(Quarantine(more, n_max=3)) == 2  # noqa: PLR2004 - those beyond the bound

        assert [one.id for one in _kept(hand)] == ["2", "3", "4"]
        assert [(one.source, one.n_quarantined) for one in _sources(hand).states] == [("a", 2), ("b", 1)]

    def test_more_than_there_is_room_for(self, hand: ByHand) -> None:
        """The last of one request stay; and one that is there already takes no room."""
        hand.store.carry_out(Quarantine((unreadable("0"),)))

        n_gone = hand.store.carry_out(Quarantine(tuple(unreadable(str(number)) for number in range(6)), n_max=2))

        assert n_gone == 4  # noqa: PLR2004 - of six
        assert [one.id for one in _kept(hand)] == ["4", "5"]
        assert hand.store.carry_out(Quarantine((), n_max=1)) == 1
        assert [one.id for one in _kept(hand)] == ["5"]

    def test_the_newest_bytes_are_kept(self, hand: ByHand) -> None:
        """Bodies, headers and reasons count, over all sources; the oldest go until the rest have room."""
        some = (_large("0", source="a"), _large("1", header=10_000), unreadable("2", reason="x" * 10_000))
        assert hand.store.carry_out(Quarantine(some, max_bytes=32_000)) == 0
        assert hand.store.carry_out(Quarantine((unreadable("3"),), max_bytes=32_000)) == 0

        assert hand.store.carry_out(Quarantine((_large("4", source="a"),), max_bytes=32_000)) == 1

        assert [one.id for one in _kept(hand)] == ["1", "2", "3", "4"]
        assert hand.store.carry_out(Quarantine((), max_bytes=12_000)) == 2  # noqa: PLR2004 - the large ones before it
        assert [one.id for one in _kept(hand)] == ["3", "4"]
        assert [(one.source, one.n_quarantined) for one in _sources(hand).states] == [("a", 1), ("bus", 1)]

    def test_one_that_is_too_large_by_itself_goes(self, hand: ByHand) -> None:
        """It is counted, and takes no room from then on; nor does what was released."""
        assert hand.store.carry_out(Quarantine((_large("1"),), max_bytes=5_000)) == 1
        assert _kept(hand) == ()
        hand.store.carry_out(Quarantine((_large("2"),)))
        hand.store.carry_out(Release(("2",)))

        assert hand.store.carry_out(Quarantine((unreadable("3"), unreadable("3")), max_bytes=5_000)) == 0

        assert [one.id for one in _kept(hand)] == ["3"]

    def test_the_quarantine_is_read_in_pages(self, hand: ByHand) -> None:
        """No page goes on behind the message that is too much for it; what is behind the last place is the next."""
        hand.store.carry_out(Quarantine(tuple(_large(str(n), source="b" if n == 1 else "a") for n in range(6))))
        pages: list[list[str]] = []
        after = 0

        while page := hand.store.carry_out(ReadQuarantine(source="a", after=after, max_bytes=12_000)):
            pages.append([one.id for one in page])
            after = page[-1].place
            # Whoever reads may release what it has read.
            hand.store.carry_out(Release((page[0].id,)))

        assert pages == [["0", "2"], ["3", "4"], ["5"]]
        assert [one.id for one in hand.store.carry_out(ReadQuarantine(max_bytes=0))] == ["1"]
        assert [one.id for one in hand.store.carry_out(ReadQuarantine(max_bytes=0, n_max=0))] == []

    def test_a_message_tells_its_place(self, hand: ByHand) -> None:
        """Whatever place it was given; by its id, too."""
        given = tuple(replace(unreadable(id_), place=7) for id_ in ("1", "2"))
        hand.store.carry_out(Quarantine(given))

        first, second = _kept(hand)

        assert 0 < first.place < second.place
        assert _kept(hand, ids=("2",)) == (second,)

    def test_some_messages_can_be_asked_for(self, hand: ByHand) -> None:
        """By their ids, of one source, or the oldest of all; always the oldest first."""
        sources = {"1": "a", "2": "b", "3": "a", "4": "a"}
        hand.store.carry_out(Quarantine(tuple(unreadable(id_, source=name) for id_, name in sources.items())))

        assert [one.id for one in _kept(hand, ids=("4", "nowhere", "1", "4"))] == ["1", "4"]
        assert _kept(hand, ids=()) == ()
        assert [one.id for one in _kept(hand, source="a", n_max=2)] == ["1", "3"]
        assert [one.id for one in _kept(hand, n_max=3)] == ["1", "2", "3"]
        assert _kept(hand, source="nobody") == ()

    def test_a_released_message_is_gone(self, hand: ByHand) -> None:
        """It counts if it was there, once, and may come again as a new one."""
        hand.store.carry_out(Quarantine((unreadable("1"), unreadable("2"))))

        assert hand.store.carry_out(Release(("1", "nowhere", "1"))) == 1
        assert hand.store.carry_out(Release(("1",))) == 0
        assert hand.store.carry_out(Release(())) == 0
        hand.store.carry_out(Quarantine((unreadable("1"),)))

        assert [one.id for one in _kept(hand)] == ["2", "1"]

    def test_of_a_source_without_anything_nothing_is_known(self, hand: ByHand) -> None:
        """Once its last message is released."""
        hand.store.carry_out(Quarantine((unreadable("1"),)))
        assert [one.source for one in _sources(hand, "bus").states] == ["bus"]

        hand.store.carry_out(Release(("1",)))

        assert _sources(hand).states == ()
        assert _sources(hand, "bus").states == ()

    def test_what_sources_tell_touches_no_entry(self, hand: ByHand) -> None:
        """Followers hear nothing of it."""
        hand.build("k", 1, Tag("a"))
        before, position = hand.load("k"), hand.position()
        report = Report(source="bus", consumer="host:1", is_connected=True, topics=("#",))

        hand.store.carry_out(Tell(report))
        hand.store.carry_out(Quarantine((unreadable("1"),)))
        hand.store.carry_out(Release(("1",)))
        hand.store.carry_out(Forget(("bus",)))

        assert hand.load("k") == before
        assert hand.position() == position


def _sources(hand: ByHand, *names: str) -> Sources:
    return hand.store.carry_out(ReadSources(names or None))


def _kept(
    hand: ByHand, *, ids: tuple[str, ...] | None = None, source: str | None = None, n_max: int = 1_000
) -> tuple[Unreadable, ...]:
    return hand.store.carry_out(ReadQuarantine(ids, source, n_max))


def _large(id_: str, *, source: str = "bus", header: int = 0) -> Unreadable:
    """Ten thousand bytes, and a few more."""
    message = Message(topic="bug.update", body=b"x" * (10_000 - header), headers={"h": "x" * header})
    return unreadable(id_, source=source, message=message)


def unreadable(
    id_: str,
    *,
    source: str = "bus",
    reason: str = "it is no JSON",
    message: Message = MESSAGE,
    at: float = 0.0,
) -> Unreadable:
    """One that a source has brought."""
    return Unreadable(id=id_, source=source, format="fedora", reason=reason, message=message, at=at)
