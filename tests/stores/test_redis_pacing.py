"""Events whose entries fall due one after the other, over several steps and several shards."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from everfresh.matching.index import Shapes
from everfresh.model.dependency import Tag, Topic
from everfresh.model.entry import Key, State, Terms
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.publishing import suspect
from everfresh.protocol.requests import Request
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.applying import MAX_TOUCHED, apply
from everfresh.stores.redis.pacing import N_PACED, Pace, Place, Placed, Places, paces
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.store import Store
from everfresh.testing.by_hand import ByHand
from everfresh.testing.clock import FakeClock
from tests.redis_servers import RedisServer, new_prefix

BUG = Topic("bug.*")
PER_S = 8.0
N_SHARDS = 16


def place(
    key: str, *, level: float = 0.0, due: float = 0.0, at_once: float = 0.0, before: float | None = None
) -> Place:
    return Place(Key(key), level, 0.0, due, at_once, before)


def test_the_most_urgent_of_all_shards_come_first() -> None:
    """Each is counted from when its own shard was touched."""
    placed = {0: Placed(100.0, (place("b"), place("d"))), 3: Placed(200.0, (place("c", level=-1.0), place("a")))}

    found = {shard: [pace.moved for pace in some] for shard, some in paces(placed, 2.0).items()}

    assert found == {0: [(("b", 0.0, 101.0), ("d", 0.0, 101.5))], 3: [(("c", 0.0, 200.0), ("a", 0.0, 200.5))]}


def test_who_stands_right_is_left_alone() -> None:
    """One step of one shard has seen all, and is the last word."""
    assert paces({0: Placed(100.0, (place("a", due=100.0), place("b", due=100.5)))}, 2.0) == {}
    assert paces({}, 2.0) == {}


def test_nobody_is_earlier_than_its_debounce_or_later_than_before() -> None:
    """What falls due earlier anyway keeps its time; the debounce is waited for."""
    some = (place("a", at_once=105.0), place("b", before=100.25), place("c", at_once=101.0, before=100.5))

    (pace,) = paces({0: Placed(100.0, some)}, 2.0)[0]

    assert pace.moved == (("a", 0.0, 105.0), ("b", 0.0, 100.25), ("c", 0.0, 101.0))


def test_no_step_moves_more_than_some() -> None:
    """A script with more would hold up everybody else."""
    some = tuple(place(f"k{number:04}") for number in range(2 * N_PACED + 1))

    assert [len(pace.moved) for pace in paces({0: Placed(1.0, some)}, 2.0)[0]] == [N_PACED, N_PACED, 1]


def test_one_that_is_touched_twice_has_one_place() -> None:
    """It waits where it was put last, and was due before when it was before the first time."""
    first, more = (
        Placed(100.0, (place("a", due=103.0, before=109.0),)),
        Placed(101.0, (place("a", due=102.0, before=103.0),)),
    )

    both = Places()
    for one in (None, first, None, more):
        both.add(one)

    assert both.placed() == Placed(100.0, (place("a", due=102.0, before=109.0),))
    assert len(both) == 1
    assert Places().placed() is None


def test_what_takes_several_steps_falls_due_in_one_order(shared_redis: RedisServer) -> None:
    """The most urgent first, whichever step has touched them; so many a second, and none at once."""
    clock = FakeClock()
    n = MAX_TOUCHED + 100
    with closing(RedisStore(f"{shared_redis.url}?prefix={new_prefix()}", clock=clock)) as store:
        keys = _build(store, n)

        _suspect(store)

        assert _taken(store, clock, n) == keys


def test_what_several_shards_touch_falls_due_in_one_order(shared_redis: RedisServer) -> None:
    """The rate is that of all of them together."""
    clock = FakeClock()
    with closing(ShardedStore(f"{shared_redis.url}?prefix={new_prefix()}", N_SHARDS, clock=clock)) as store:
        keys = _build(store, 48)

        _suspect(store)

        assert _taken(store, clock, 48) == keys


def test_what_somebody_queued_meanwhile_is_left_alone(redis_url: str) -> None:
    """An event came between two steps, and is due at once; or somebody builds the entry."""
    with closing(RedisStore(redis_url)) as store:
        hand = ByHand(store)
        for number in range(MAX_TOUCHED + 1):
            hand.build(f"k{number:04}", 1, BUG)
        hand.build("tagged", 1, BUG, Tag("a"), terms=Terms(priority=-1))
        asked = _until_paces(store, 0.001)
        hand.touch(Tag("a"))
        lease = hand.lease("k0001")

        for pace in asked:
            store.carry_out(pace)

        assert sorted(due.lease.key for due in hand.take(5)) == ["k0500", "tagged"]
        assert hand.commit(lease, 2, BUG).entry.state is State.FRESH


def test_whoever_dies_between_two_steps_keeps_to_the_rate(shared_redis: RedisServer) -> None:
    """The later ones count on from where the first has ended."""
    clock = FakeClock()
    with closing(RedisStore(f"{shared_redis.url}?prefix={new_prefix()}", clock=clock)) as store:
        _build(store, MAX_TOUCHED + 100)

        _until_paces(store, PER_S)

        found = _taken(store, clock, MAX_TOUCHED + 100)
        assert len(set(found)) == MAX_TOUCHED + 100


def test_whoever_dies_in_between_leaves_nothing_due_at_once(redis_url: str) -> None:
    """Until the shards are put in order each counts by its part of the rate, so all of them keep to it."""
    clock = FakeClock()
    with closing(_Dies(redis_url, N_SHARDS, clock=clock)) as store:
        hand = ByHand(store)
        keys = _build(store, 48)

        with pytest.raises(StoreUnavailable):
            _suspect(store)

        assert {hand.state(key) for key in keys} == {State.DIRTY}
        # The first of each shard; after that no more than the rate allows.
        assert len(hand.take(48)) <= N_SHARDS
        clock.advance(1.0)
        assert len(hand.take(48)) <= PER_S
        clock.advance(48.0 * N_SHARDS / PER_S)
        hand.take(48)
        assert hand.take(48) == []


class _Dies(ShardedStore):
    """Stops before it puts the shards in order, as a process does that is killed."""

    def _run(self, steps: Any) -> Any:  # noqa: ANN401 - as its own
        return super()._run(self._mortal(steps))

    def _mortal(self, steps: Any) -> Any:  # noqa: ANN401 - as above
        try:
            parts = next(steps)
            while True:
                if any(isinstance(part.request, Pace) for part in parts):
                    msg = "killed"
                    raise StoreUnavailable(msg)
                parts = steps.send((yield parts))
        except StopIteration as stop:
            return stop.value


def _build(store: Store, n: int) -> list[str]:
    """Entries of several priorities; their keys as they are to fall due."""
    hand = ByHand(store)
    priority_of = {f"k{number:04}": (number * 7) % 5 for number in range(n)}
    for key, priority in priority_of.items():
        hand.build(key, 1, BUG, terms=Terms(priority=priority))
    return sorted(priority_of, key=lambda key: (-priority_of[key], key))


def _suspect(store: Store) -> None:
    hand = ByHand(store)
    hand.run(suspect(("bug.#",), "events may have been lost", hand.shapes, per_s=PER_S))


def _taken(store: Store, clock: FakeClock, n: int) -> list[str]:
    """The keys as they fall due, one at a time."""
    hand = ByHand(store)
    found: list[str] = []
    for _ in range(n):
        taken: Sequence[Any] = hand.take(2)
        assert len(taken) == 1
        found.append(taken[0].lease.key)
        hand.commit(taken[0].lease, 1, BUG)
        clock.advance(1 / PER_S)
    return found


def _until_paces(store: RedisStore, per_s: float) -> list[Pace]:
    """Carry out the event, but for its last steps."""
    shapes = Shapes()
    while True:
        request: Request[object] = next(suspect(("bug.#",), "lost", shapes, per_s=per_s))
        assert isinstance(request, Apply)
        answer = store.carry_out(Apply(request.touched, request.generation, request.mentions, is_dry=True))
        if isinstance(answer, Applied):
            break
        shapes.learn(answer.after, answer.shapes)
    steps = apply(request)
    asked: Request[Any] = next(steps)
    while not isinstance(asked, Pace):
        asked = steps.send(store.carry_out(asked))
    found: list[Pace] = []
    try:
        while isinstance(asked, Pace):
            found.append(asked)
            asked = steps.send(None)
    except StopIteration:
        pass
    return found
