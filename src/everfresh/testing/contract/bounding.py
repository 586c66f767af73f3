"""Bounding: a store that may hold only so much drops what was read longest ago."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from everfresh.model.dependency import Call, Tag
from everfresh.model.entry import Key, Kind, Lease, OnChange, State, Terms
from everfresh.protocol.inspecting import Count
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Committed, GiveUp, Overtaken
from everfresh.stores.tables import Room
from everfresh.testing.by_hand import LEASE_S, ByHand, begin_of, commit_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import MakeStore, StoreFixtures

A, B = Tag("a"), Tag("b")
N_MAX = 3
N_BYTES = 1_000
# msgpack says in three bytes how long a text of some hundred characters is.
HEADER_BYTES = 3

MakeHand = Callable[[Room], ByHand]


class BoundContract(StoreFixtures):
    """What goes when there is no room, and that what there is counts right."""

    @pytest.fixture
    def bounded(self, make_store: MakeStore, clock: FakeClock) -> Iterator[MakeHand]:
        """Makes a store with bounds, and hands to ask it with."""
        made: list[ByHand] = []

        def make(room: Room) -> ByHand:
            made.append(ByHand(make_store(clock, room)))
            return made[-1]

        yield make
        for hand in made:
            hand.store.close()

    def test_what_was_read_longest_ago_goes(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Whatever the order in which they came, built or put."""
        hand = bounded(Room(max_entries=N_MAX))
        hand.build("a", 1)
        hand.put("b", 1)
        hand.build("c", 1)
        for key in ("c", "a", "b"):
            clock.advance(1.0)
            hand.note(reads={key: clock()})
        clock.advance(1.0)

        for number, gone in enumerate(("c", "a", "b")):
            hand.put(f"new {number}", 1)
            assert hand.load(gone).entry is None
            assert hand.store.carry_out(Count()).n_known == N_MAX
            clock.advance(1.0)

    def test_what_was_never_read_goes_by_when_it_came(self, bounded: MakeHand, clock: FakeClock) -> None:
        """The first one first."""
        hand = bounded(Room(max_entries=N_MAX))
        for number in range(N_MAX + 2):
            hand.build(f"k{number}", 1)
            clock.advance(1.0)

        assert _there(hand, *(f"k{number}" for number in range(N_MAX + 2))) == ["k2", "k3", "k4"]

    def test_nothing_goes_while_there_is_room(self, bounded: MakeHand) -> None:
        """To the last place."""
        hand = bounded(Room(max_entries=N_MAX, max_bytes=N_BYTES))
        for number in range(N_MAX):
            hand.put(f"k{number}", 1)
        hand.put("k0", 2)

        assert hand.store.carry_out(Count()).n_known == N_MAX

    def test_what_goes_is_told(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Its followers let go of it, and who was built from it is touched."""
        hand = bounded(Room(max_entries=2))
        hand.build("in", 1)
        hand.build("out", 1, seen={"in": 1})
        # It is read later, and yet the only one that nothing was built from; so it goes first.
        clock.advance(1.0)
        hand.note(reads={"in": clock()})
        position = hand.position()

        hand.put("new", 1)

        assert [(record.key, record.kind) for record in hand.feed(position)] == [
            ("new", Kind.CHANGED),
            ("out", Kind.DROPPED),
        ]

    def test_what_others_were_built_from_goes_last(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Though it was read longest ago: without it the others would have to be built again."""
        hand = bounded(Room(max_entries=N_MAX))
        hand.build("in", 1)
        clock.advance(1.0)
        hand.build("out", 1, seen={"in": 1})
        clock.advance(1.0)
        hand.build("other", 1)
        clock.advance(1.0)

        hand.build("new", 1, seen={"other": 1})

        assert _there(hand, "in", "out", "other", "new") == ["in", "other", "new"]

    def test_what_is_known_to_be_used_stays(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Readers are served without the store, which asks about those whose turn it is."""
        hand = bounded(Room(max_entries=N_MAX))
        reads: dict[Key, float] = {}
        hand.store.ask_last_read(reads.get)
        for key in ("a", "b", "c"):
            hand.build(key, 1)
            clock.advance(1.0)
        reads[Key("a")] = clock()
        clock.advance(1.0)

        hand.build("d", 1)
        assert _there(hand, "a", "b", "c", "d") == ["a", "c", "d"]
        hand.build("e", 1)
        assert _there(hand, "a", "c", "d", "e") == ["a", "d", "e"]
        # It was not read since.
        hand.build("f", 1)
        assert _there(hand, "a", "d", "e", "f") == ["d", "e", "f"]

    def test_there_are_never_more_though_all_are_used(self, bounded: MakeHand, clock: FakeClock) -> None:
        """However many are read between two that are written: something has to go each time."""
        n_max = 300
        hand = bounded(Room(max_entries=n_max))
        hand.store.ask_last_read(lambda _: clock())
        for number in range(n_max + 20):
            hand.put(f"k{number}", 1)
            clock.advance(0.001)

        assert hand.store.carry_out(Count()).n_known == n_max

    def test_what_is_used_keeps_what_it_was_built_from(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Inner entries are read only when something is built from them, and are as warm as that."""
        hand = bounded(Room(max_entries=4))
        reads: dict[Key, float] = {}
        hand.store.ask_last_read(reads.get)
        for number in range(2):
            hand.build(f"in{number}", 1)
            hand.build(f"page{number}", 1, seen={f"in{number}": 1})
            # Who is being built is not looked at, so that only the trees are left.
            hand.lease(f"page{number}", lease_s=1e6)
            clock.advance(1.0)
        reads[Key("page0")] = clock()
        clock.advance(1.0)

        hand.build("new", 1)

        assert _there(hand, "in0", "page0", "in1", "page1", "new") == ["in0", "page0", "new"]

    def test_if_all_are_used_the_one_goes_that_was_read_longest_ago(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Something has to go."""
        hand = bounded(Room(max_entries=N_MAX))
        reads: dict[Key, float] = {}
        hand.store.ask_last_read(reads.get)
        for key in ("a", "b", "c"):
            hand.build(key, 1)
        for key in ("b", "c", "a"):
            clock.advance(1.0)
            reads[Key(key)] = clock()

        hand.build("d", 1)

        assert _there(hand, "a", "b", "c", "d") == ["a", "c", "d"]

    def test_what_was_built_from_one_that_goes_goes_with_it(self, bounded: MakeHand, clock: FakeClock) -> None:
        """To build it anew would bring back what there is no room for, and so on without an end."""
        hand = bounded(Room(max_entries=2))
        hand.build("in", 1)
        hand.build("out", 1, seen={"in": 1})
        lease = hand.lease("out")
        clock.advance(1.0)

        hand.build("other", 1)

        assert _there(hand, "in", "out", "other") == ["other"]
        assert isinstance(hand.store.carry_out(commit_of(lease, 1)), Overtaken)
        assert hand.take() == []

    def test_what_leaves_no_room_for_what_it_was_built_from_is_not_kept(
        self, bounded: MakeHand, clock: FakeClock
    ) -> None:
        """Its reader has it, the next builds it anew, and no worker is asked to try again."""
        hand = bounded(Room(max_entries=2))
        hand.build("in", 1)
        clock.advance(1.0)
        hand.build("middle", 1, seen={"in": 1})
        clock.advance(1.0)

        committed = hand.commit(hand.lease("out"), 1, seen={"middle": 1})

        assert not committed.is_stored
        assert _there(hand, "in", "middle", "out") == ["in", "middle"]
        assert (hand.state("in"), hand.state("middle"), hand.take()) == (State.FRESH, State.FRESH, [])

    def test_what_was_built_from_one_that_found_no_room_is_not_kept(self, bounded: MakeHand) -> None:
        """It could never be settled: whatever it was built from is not there."""
        hand = bounded(Room(max_entries=2))
        outer = hand.lease("out")

        committed = hand.commit(outer, 1, seen={"large": 2})

        assert not committed.is_stored
        assert _there(hand, "out") == []
        assert hand.take() == []

    def test_what_is_being_built_stays(self, bounded: MakeHand, clock: FakeClock) -> None:
        """Its builder would be robbed of its lease; when nobody holds it any more, it may go."""
        hand = bounded(Room(max_entries=1))
        hand.build("k", 1)
        lease = hand.lease("k")
        clock.advance(1.0)
        hand.put("new", 1)
        assert _there(hand, "k", "new") == ["k", "new"]

        hand.commit(lease, 2)

        assert _there(hand, "k", "new") == ["k"]

    def test_bytes_are_bounded(self, bounded: MakeHand, clock: FakeClock) -> None:
        """As many go as it takes."""
        hand = bounded(Room(max_bytes=N_BYTES))
        for number in range(4):
            hand.put(f"k{number}", _text_of(250))
            clock.advance(1.0)
        assert hand.store.carry_out(Count()).n_bytes == N_BYTES

        hand.put("new", _text_of(500))

        assert _there(hand, "k0", "k1", "k2", "k3", "new") == ["k2", "k3", "new"]

    def test_a_value_that_grows_needs_room_too(self, bounded: MakeHand, clock: FakeClock) -> None:
        """What counts is its size now; one that shrinks gives room."""
        hand = bounded(Room(max_bytes=N_BYTES))
        hand.build("a", _text_of(500))
        clock.advance(1.0)
        hand.build("b", _text_of(300))
        clock.advance(1.0)

        hand.build("b", _text_of(500))
        assert _there(hand, "a", "b") == ["a", "b"]
        hand.build("b", _text_of(501))
        assert _there(hand, "a", "b") == ["b"]
        hand.build("b", _text_of(300))
        hand.build("c", _text_of(700))
        assert _there(hand, "b", "c") == ["b", "c"]

    def test_a_value_larger_than_all_room_is_not_kept(self, bounded: MakeHand) -> None:
        """Its builder may use it, and the others stay; a value that had room before is gone."""
        hand = bounded(Room(max_bytes=N_BYTES))
        hand.put("other", 1)
        hand.build("k", 1)

        answer = hand.commit(hand.lease("k"), _text_of(N_BYTES + 1))

        assert (answer.is_stored, len(answer.entry.value)) == (False, N_BYTES + 1)
        assert "event" not in answer.entry.reason
        assert _there(hand, "k", "other") == ["other"]
        hand.put("k", _text_of(N_BYTES + 1))
        assert _there(hand, "k", "other") == ["other"]

    def test_a_value_as_large_as_all_room_is_kept_alone(self, bounded: MakeHand) -> None:
        """There is just room for it."""
        hand = bounded(Room(max_bytes=N_BYTES))
        hand.put("other", 1)

        hand.put("k", _text_of(N_BYTES))

        assert _there(hand, "k", "other") == ["k"]

    def test_room_of_none_is_no_bound(self, bounded: MakeHand) -> None:
        """A store without bounds keeps everything."""
        hand = bounded(Room())
        for number in range(50):
            hand.put(f"k{number}", _text_of(N_BYTES))

        assert hand.store.carry_out(Count()).n_known == 50  # noqa: PLR2004 - as put

    @pytest.mark.parametrize("seed", range(8))
    def test_whatever_happens_the_counts_are_right(self, bounded: MakeHand, clock: FakeClock, seed: int) -> None:
        """After any steps there is room for just so many more as the bounds say, in entries and in bytes."""
        n_max, n_bytes = 40, 40_000
        hand = bounded(Room(max_entries=n_max, max_bytes=n_bytes))
        wanderer = _Wanderer(hand, clock, Random(seed))  # noqa: S311 - no secrets
        for number in range(150):
            wanderer.step()
            if number % 50 == 49:  # noqa: PLR2004 - now and then
                hand.store.carry_out(Distrust("why not"))
        clock.advance(1e6)
        # Each put clears away some that have expired; all of them, so that no more go below.
        for _ in range(n_max):
            hand.put("sweeper", 1)
        hand.delete("sweeper")
        before = hand.store.carry_out(Count())
        assert before.n_known < n_max

        for number in range(n_max - before.n_known):
            hand.put(f"fill {number}", 1)
        filled = hand.store.carry_out(Count())
        assert filled.n_known == n_max
        hand.put("new", 1)
        assert hand.store.carry_out(Count()).n_known <= n_max

        hand.delete("new", *(f"fill {number}" for number in range(n_max - before.n_known)))
        left = hand.store.carry_out(Count())
        assert left.n_known <= before.n_known
        hand.put("exact", _text_of(n_bytes - left.n_bytes))
        assert hand.store.carry_out(Count()).n_bytes == n_bytes
        hand.put("one more", 1)
        assert hand.store.carry_out(Count()).n_bytes <= n_bytes


def _text_of(n_bytes: int) -> str:
    """A text whose encoding has so many bytes, from 256 to 65,538; smaller ones have a byte less of header."""
    header_bytes = HEADER_BYTES if n_bytes >= 256 + HEADER_BYTES else HEADER_BYTES - 1
    return "x" * (n_bytes - header_bytes)


def _there(hand: ByHand, *keys: str) -> list[str]:
    return [key for key in keys if hand.load(key).entry is not None]


class _Wanderer:
    """Does anything, in any order, with few keys."""

    def __init__(self, hand: ByHand, clock: FakeClock, random: Random) -> None:
        self._hand = hand
        self._clock = clock
        self._random = random
        self._keys = [f"k{number}" for number in range(12)]
        self._leases: list[Lease] = []

    def step(self) -> None:
        """Do something."""
        hand, any_of = self._hand, self._random.choice
        steps: list[Callable[[], object]] = [
            self._begin,
            self._begin,
            self._commit,
            self._commit,
            self._end,
            self._put,
            lambda: hand.touch(any_of([A, B])),
            lambda: hand.delete(any_of(self._keys)),
            lambda: hand.enqueue(any_of(self._keys)),
            lambda: self._leases.extend(due.lease for due in hand.take(2)),
            lambda: self._clock.advance(any_of([0.5, 2.0, LEASE_S])),
        ]
        any_of(steps)()

    def _begin(self) -> None:
        answer = self._hand.store.carry_out(begin_of(self._random.choice(self._keys)))
        if isinstance(answer, Lease):
            self._leases.append(answer)

    def _commit(self) -> None:
        if not self._leases:
            return
        hand, any_of = self._hand, self._random.choice
        lease, value = any_of(self._leases), "x" * self._random.randrange(2_000)
        terms = Terms(on_change=any_of([*OnChange]), keep_warm_s=any_of([None, 5.0]))
        read = [key for key in self._random.sample(self._keys, 2) if hand.load(key).entry is not None]
        seen = {key: hand.value(key) for key in read}
        answer = hand.store.carry_out(commit_of(lease, value, any_of([A, B]), seen=seen, terms=terms))
        assert not isinstance(answer, Committed) or not answer.is_stored or hand.value(lease.key) == value

    def _end(self) -> None:
        if not self._leases:
            return
        lease = self._random.choice(self._leases)
        if self._random.random() < 0.5:  # noqa: PLR2004 - as often as not
            self._hand.fail(lease)
        else:
            self._hand.store.carry_out(GiveUp(lease))

    def _put(self) -> None:
        value = "x" * self._random.randrange(2_000)
        inner = [Call(key) for key in self._random.sample(self._keys, 1) if self._hand.state(key) is State.FRESH]
        self._hand.put(self._random.choice(self._keys), value, *inner, expires_s=self._random.choice([None, 3.0]))
