"""Events that touch more entries than one step may: nobody is forgotten, and nobody is built for nothing."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from everfresh.matching.index import Shapes
from everfresh.matching.shapes import Group, predicate_shape
from everfresh.model.conditions import lt
from everfresh.model.dependency import Dependency, Tag, Topic
from everfresh.model.entry import Lease, State, Terms
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.publishing import invalidate, suspect
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Request, Steps
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.applying import MAX_TOUCHED, ApplyFirst, Begun, apply
from everfresh.testing.by_hand import FUNCTION, ByHand, begin_of, groups_of
from tests.redis_servers import RedisServer, new_prefix

pytestmark = pytest.mark.uncounted

A = Tag("a")
N = 2 * MAX_TOUCHED + 7
NEWS = (Group(predicate_shape("news.#", FUNCTION), ((),)),)
# A small set of numbers is one piece to Redis.
AT_MOST = 512
# Some six for each entry, and those for what is looked at in vain.
N_CALLS = 8 * MAX_TOUCHED


def _suspects(hand: ByHand) -> Applied:
    return hand.run(suspect(("bug.#",), "events may have been lost", hand.shapes, per_s=1000.0)).applied


def _publishes(hand: ByHand) -> Applied:
    return hand.publish(Event("bug.update", {"n": 5, "text": "none of the others"}), Event("news.today"))


@dataclass(frozen=True)
class Fan:
    """Many entries, and an event that touches them."""

    depends_on: Callable[[int], Sequence[Dependency]]
    touch: Callable[[ByHand], Applied]
    groups: tuple[Group, ...] = ()
    n: int = N


FANS = {
    "many buckets of a shape": Fan(lambda number: [Topic("bug.*", {"n": number})], _suspects, n=3000),
    "a large bucket of a shape": Fan(lambda _: [Topic("bug.*")], _suspects),
    "large buckets of a shape": Fan(lambda number: [Topic("bug.*", {"n": number % 3})], _suspects),
    "many conditions": Fan(lambda number: [Topic("bug.*", {"n": lt(10 + number)})], _publishes),
    "conditions of many": Fan(lambda number: [Topic("bug.*", {"n": lt(10 + number % 2)})], _publishes),
    "two shapes": Fan(lambda number: [Topic("bug.*", {"n": number}), Topic("bug.#")], _suspects),
    "a predicate": Fan(lambda _: [], _publishes, NEWS),
}
"""What makes steps go on, each in its own way."""


class Stepwise:
    """A store that carries out each step of an event by itself, and notes how much it did."""

    def __init__(self, store: RedisStore, client: redis.Redis) -> None:
        self._store, self._client = store, client
        self.n_touched: list[int] = []
        self.n_calls: list[int] = []

    def carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - of any request
        """As a store does."""
        if not isinstance(request, Apply) or request.is_dry:
            return self._store.carry_out(request)
        steps, answer = apply(request), None
        while True:
            try:
                asked = steps.send(answer)
            except StopIteration as stop:
                return stop.value
            self._client.config_resetstat()
            answer = self._store.carry_out(asked)
            if isinstance(answer, Begun) and isinstance(answer.applied, Applied):
                self.n_touched.append(len(answer.applied.touched))
                self.n_calls.append(self._n_calls())

    def _n_calls(self) -> int:
        stats: Any = self._client.info("commandstats")
        return sum(stat["calls"] for stat in stats.values())


@pytest.mark.parametrize("fan", FANS.values(), ids=list(FANS))
def test_no_step_goes_far(shared_redis: RedisServer, fan: Fan) -> None:
    """Nor does the first, which finds that there are many; all together touch everybody, and nobody else."""
    with closing(RedisStore(f"{shared_redis.url}?prefix={new_prefix()}")) as store, shared_redis.client() as client:
        hand = ByHand(store)
        keys = [f"k{number:05}" for number in range(fan.n)]
        for number, key in enumerate(keys):
            _build(hand, key, fan, number)
        hand.build("apart", 1, A)
        stepwise: Any = Stepwise(store, client)
        publisher = ByHand(stepwise)
        publisher.spares = frozenset(keys[:3]) if fan.groups else frozenset()

        applied = fan.touch(publisher)

        assert sorted(applied.touched) == keys[len(publisher.spares) :]
        assert len(applied.touched) == len(set(applied.touched))
        assert {hand.state(key) for key in publisher.spares | {"apart"}} == {State.FRESH}
        assert {hand.state(key) for key in applied.touched} == {State.DIRTY}
        assert len(stepwise.n_touched) > fan.n / MAX_TOUCHED
        assert max(stepwise.n_touched) <= AT_MOST
        assert max(stepwise.n_calls) <= N_CALLS


def _build(hand: ByHand, key: str, fan: Fan, number: int) -> None:
    groups = (*groups_of(*fan.depends_on(number)), *fan.groups)
    lease = hand.store.carry_out(begin_of(key, *fan.depends_on(number), watched=fan.groups))
    assert isinstance(lease, Lease)
    hand.commit_groups(lease, groups)


def test_the_last_event_is_the_one_that_is_kept(redis_url: str) -> None:
    """Whoever stands in two places is touched by several steps, in the order of the events."""
    with closing(RedisStore(redis_url)) as store:
        hand = ByHand(store)
        for number in range(N):
            hand.build(f"k{number:05}", 1, Topic("bug.*"), Topic("bug.update", {"n": 1}), terms=Terms(keeps_event=True))
        first, last = Event("bug.update", {"n": 1}, id="first"), Event("bug.update", {"n": 2}, id="last")

        applied = hand.publish(first, last)

        assert len(applied.touched) == N
        assert {hand.explain(f"k{number:05}").listed.reason for number in (0, N - 1)} == {"event bug.update last"}


def test_all_are_touched(redis_url: str) -> None:
    """However many steps that takes, before the publisher hears of it; and who was built from them is suspect."""
    hand = ByHand(RedisStore(redis_url))
    keys = [f"k{number:05}" for number in range(N)]
    for key in keys:
        hand.build(key, 1, A)
    hand.build("outer", 1, seen={keys[-1]: 1})

    applied = hand.touch(A)

    assert sorted(applied.touched) == keys
    assert applied.suspect == ("outer",)
    assert {hand.state(key) for key in keys} == {State.DIRTY}
    assert applied.position == hand.position()
    hand.store.close()


def test_who_was_built_in_between_is_left_alone(redis_url: str) -> None:
    """Its build began after the event was applied, so it has seen it."""
    store = RedisStore(redis_url)
    hand = ByHand(store)
    keys = [f"k{number:05}" for number in range(MAX_TOUCHED + 2)]
    for key in keys:
        hand.build(key, 1, A)
    steps = apply(_apply_of(store))
    first = next(steps)
    assert isinstance(first, ApplyFirst)
    begun = store.carry_out(first)
    hand.build(keys[0], 2, A)
    hand.build("new", 1, A)

    done = _rest(store, steps, begun)

    assert isinstance(done, Applied)
    assert sorted(done.touched) == keys[1:]
    assert [hand.state(key) for key in (keys[0], "new", keys[1])] == [State.FRESH, State.FRESH, State.DIRTY]
    store.close()


def test_a_build_that_began_before_is_outrun_between_two_steps(redis_url: str) -> None:
    """No step has touched the entry yet, but the first has left the marks."""
    with closing(RedisStore(redis_url)) as store:
        hand = ByHand(store)
        for number in range(MAX_TOUCHED + 2):
            hand.build(f"k{number:05}", 1, A)
        lease = hand.lease("slow")
        steps = apply(_apply_of(store))
        begun = store.carry_out(next(steps))

        hand.commit(lease, 1, A)

        assert hand.state("slow") is State.DIRTY
        assert isinstance(_rest(store, steps, begun), Applied)


def test_no_row_is_read_twice(shared_redis: RedisServer) -> None:
    """The first step leaves the rows of those that it does not touch to the next."""
    tags = [Tag(f"t{number}") for number in range(MAX_TOUCHED + 50)]
    with closing(RedisStore(f"{shared_redis.url}?prefix={new_prefix()}")) as store, shared_redis.client() as client:
        hand = ByHand(store)
        for number, tag in enumerate(tags):
            hand.build(f"k{number:05}", 1, tag)
        hand.touch(Tag("another"))
        n_before = _n_read(client)

        applied = hand.touch(*tags)

        assert len(applied.touched) == len(tags)
        assert _n_read(client) - n_before == len(tags)


def test_what_was_left_before_a_new_life_is_left(redis_url: str) -> None:
    """There all that was built before is dirty already."""
    store = RedisStore(redis_url)
    hand = ByHand(store)
    for number in range(MAX_TOUCHED + 1):
        hand.build(f"k{number:05}", 1, A)
    steps = apply(_apply_of(store))
    begun = store.carry_out(next(steps))
    assert isinstance(begun, Begun)
    store.carry_out(Distrust("it was put back"))

    done = _rest(store, steps, begun)

    assert isinstance(done, Applied)
    assert done.touched == ()
    store.close()


def _rest(store: RedisStore, steps: Steps[Any], answer: object) -> Any:  # noqa: ANN401 - of any request
    """Carry out the other steps; what came of it."""
    try:
        while True:
            answer = store.carry_out(steps.send(answer))
    except StopIteration as stop:
        return stop.value


def _n_read(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return int(stats["cmdstat_get"]["calls"])


def _apply_of(store: RedisStore) -> Apply:
    """The request of who touches A, once it knows the store's shapes."""
    shapes = Shapes()
    while True:
        steps = invalidate([A], shapes)
        request: Request[object] = next(steps)
        assert isinstance(request, Apply)
        answer = store.carry_out(Apply(request.touched, request.generation, request.mentions, is_dry=True))
        if isinstance(answer, Applied):
            return request
        shapes.learn(answer.after, answer.shapes)
