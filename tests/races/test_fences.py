"""A reader computes, a writer commits and invalidates, the reader stores: nobody who comes after is served that value.

Who began to read before the invalidation returned may get the older value; whoever begins after it must not. In other
processes over one Redis that holds for near caches once it is acknowledged, as they hear of it a moment later.
"""

from collections.abc import Generator
from concurrent.futures import Future
from functools import partial
from itertools import count

import pytest

from everfresh.testing.waiting import DEADLINE_S, until
from tests.races.cast import Actor, Cast, cast_here, cast_of_four
from tests.races.fenced import COLOURS, NEAR, ON_CHANGE, WAYS
from tests.races.world import N_SHARDS
from tests.redis_servers import Cluster, RedisServer, new_prefix

pytestmark = pytest.mark.uncounted

_numbers = count()


N_SHARDS_ON = {
    "redis": 1,
    "four processes on redis": 1,
    "four processes on shards": N_SHARDS,
    "four on a Cluster": N_SHARDS,
}


@pytest.fixture(scope="module", params=["memory", "sqlite", "four processes", *N_SHARDS_ON])
def cast(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Cast]:
    """Four who act on each kind of store; the tests tell their cases apart by name."""
    folder = tmp_path_factory.mktemp("site")
    kind: str = request.param
    make = cast_of_four if kind.startswith("four") else cast_here
    url = "memory:" if kind == "memory" else f"sqlite:///{folder}/cache.db"
    if kind in N_SHARDS_ON:
        name = "shared_cluster" if kind.endswith("Cluster") else "shared_redis"
        server: RedisServer | Cluster = request.getfixturevalue(name)
        url = f"{server.url}?prefix={new_prefix()}&shards={N_SHARDS_ON[kind]}"
    with make(url, folder) as cast:
        yield cast


@pytest.mark.parametrize("near", NEAR)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("on_change", ON_CHANGE)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_known", [0, 1], ids=["cold", "warm"])
def test_what_was_computed_before_the_invalidation_is_served_to_nobody_after_it(
    cast: Cast, n_known: int, way: str, on_change: str, colour: str, near: str
) -> None:
    """Neither to one who joins the build under way, nor to one who comes when it is stored; cold, or held by all."""
    case = f"case-{next(_numbers)}"
    site = cast.site
    read = partial(begin, near, "read", colour, on_change, way, case)
    is_exact = near == "far" or way == "read after" or not cast.hears_later
    tell = partial(cast.writer.start, near, "tell" if is_exact else "tell all", colour, case)
    site.begin(case)
    for truth in range(n_known):
        site.commit(case, truth)
        assert [done(read(one)) for one in cast.everybody * 2] == [truth] * 8
    old, new = n_known, n_known + 1
    site.commit(case, old)
    done(tell())
    site.hold(case, old)

    reader = read(cast.reader)
    site.await_held(case)
    site.commit(case, new)
    done(tell())
    joiner = read(cast.joiner)
    until(
        lambda: joiner.done() or done(cast.joiner.start(near, "count waiters", case)) > 0,
        what="the joiner has its value, or waits",
    )
    site.let_go(case)

    assert done(reader) in {old, new}
    seen = [done(joiner), *(done(read(one)) for one in (cast.late, *cast.everybody))]
    assert seen == [new] * 6
    # Once more, as the near caches hold it by now.
    assert [done(read(one)) for one in cast.everybody] == [new] * 4


def begin(near: str, verb: str, *words: object) -> "Future[int]":
    """Let the actor, who is named last, begin."""
    *others, actor = words
    assert isinstance(actor, Actor)
    return actor.start(near, verb, *map(str, others))


def done(future: "Future[int]") -> int:
    """What came of it."""
    return future.result(DEADLINE_S)
