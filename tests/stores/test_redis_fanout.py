"""Events that touch more entries than one step may: nobody is forgotten, and nobody is built for nothing."""

from contextlib import closing
from typing import Any

import redis

from everfresh.matching.index import Shapes
from everfresh.model.dependency import Tag
from everfresh.model.entry import State
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.publishing import invalidate
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Request
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.applying import MAX_TOUCHED, ApplyFirst, Begun, Touch, apply
from everfresh.testing.by_hand import ByHand
from tests.redis_servers import RedisServer, new_prefix

A = Tag("a")
N = 2 * MAX_TOUCHED + 7


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
    for number in range(MAX_TOUCHED + 2):
        hand.build(f"k{number:05}", 1, A)
    steps = apply(_apply_of(store))

    first = next(steps)
    assert isinstance(first, ApplyFirst)
    begun = store.carry_out(first)
    left = [key for key, _ in begun.left]
    hand.build(left[0], 2, A)
    rest = steps.send(begun)
    assert isinstance(rest, Touch)
    done = store.carry_out(rest)

    assert isinstance(done.applied, Applied)
    assert done.applied.touched == (left[1],)
    assert [hand.state(key) for key in left] == [State.FRESH, State.DIRTY]
    store.close()


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

    done = store.carry_out(steps.send(begun))

    assert isinstance(done, Begun)
    assert isinstance(done.applied, Applied)
    assert done.applied.touched == ()
    store.close()


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
