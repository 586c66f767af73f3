"""What a lane asks the queue for, and when it looks again."""

from collections.abc import Sequence

import pytest

from everfresh import Cache, Key
from everfresh.model.entry import FeedRecord, Kind, Lease, Recipe
from everfresh.model.position import Position
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.requests import UNLIMITED, Limit
from everfresh.refresh.taking import LOOK_EVERY_S, Bell, pause_s, specs_of, take_request
from everfresh.testing.clock import FakeClock

NOW = 100.0


def due(n: int) -> tuple[Due, ...]:
    lease = Lease(key=Key("a"), token=1, begun=Position("e", 1), until=NOW)
    return (Due(lease, Recipe("f", b"")),) * n


def took(n_due: int = 0, *, next_due: float | None = None, expired: int = 0, cold: int = 0) -> TookDue:
    return TookDue(due(n_due), NOW, next_due, (Key("a"),) * expired, (Key("a"),) * cold)


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (took(), LOOK_EVERY_S),
        (took(next_due=NOW + 0.25), 0.25),
        (took(next_due=NOW + 3600), LOOK_EVERY_S),
        (took(next_due=NOW - 5), 0.0),
        (took(2, next_due=None), LOOK_EVERY_S),
        (took(3, next_due=NOW + 60), 0.0),
        (took(1, expired=1, cold=1), 0.0),
    ],
)
def test_it_looks_again_when_something_falls_due_and_at_once_after_a_full_answer(answer: TookDue, pause: float) -> None:
    """What was dropped fills an answer too; and it looks once in a while whatever was said."""
    assert pause_s(TakeDue({"f": UNLIMITED}, 3, 10.0), answer) == pause


def test_a_store_that_did_not_answer_is_asked_again_after_a_while() -> None:
    """Not at once: it has trouble."""
    assert pause_s(TakeDue({"f": UNLIMITED}, 3, 10.0), None) == LOOK_EVERY_S


def test_without_room_it_waits_for_the_end_of_a_build() -> None:
    """Which rings."""
    assert pause_s(None, None) == LOOK_EVERY_S


@pytest.fixture
def memory(clock: FakeClock) -> Cache:
    """A cache of this process."""
    return Cache("memory:", clock=clock)


def test_each_lane_asks_for_the_functions_of_its_colour_with_their_limits(memory: Cache) -> None:
    """The store sees to the limits, as it alone knows what all processes build."""

    @memory.cached(concurrency=2, rate=3.0)
    def blocking() -> int:
        return 1

    @memory.cached
    async def asynchronous() -> int:
        return 1

    asked = [take_request(memory.engine, 5, is_async=is_async) for is_async in (False, True)]

    assert asked == [
        TakeDue({blocking.name: Limit(2, 3.0)}, 5, 10.0),
        TakeDue({asynchronous.name: UNLIMITED}, 5, 10.0),
    ]


def test_without_room_or_functions_nothing_is_asked(memory: Cache) -> None:
    """The store is left alone."""
    assert take_request(memory.engine, 5, is_async=True) is None

    @memory.cached
    async def value() -> int:
        return 1

    assert len(specs_of(memory.engine)) == 1
    assert take_request(memory.engine, 0, is_async=True) is None


@pytest.mark.parametrize(
    ("kinds", "is_limited", "n_rung"),
    [
        ([Kind.STALE], False, 1),
        ([Kind.CHANGED, Kind.FAILED], False, 1),
        ([Kind.CHANGED, Kind.FRESH, Kind.DROPPED], False, 0),
        ([Kind.CHANGED], True, 1),
    ],
)
def test_what_may_let_a_refresh_begin_rings(
    memory: Cache, kinds: Sequence[Kind], is_limited: bool, n_rung: int
) -> None:
    """The end of a build only where one may have been held back by it, in whatever process."""
    rung: list[int] = []
    memory.cached(concurrency=1 if is_limited else None)(value)
    bell = Bell(memory.engine, lambda: rung.append(1), is_async=False)

    bell.on_records([FeedRecord(number, Key("a"), kind, 1, "d") for number, kind in enumerate(kinds)])

    assert len(rung) == n_rung


def test_a_loss_rings(memory: Cache) -> None:
    """Nobody knows what fell due meanwhile."""
    rung: list[int] = []
    memory.cached(value)

    Bell(memory.engine, lambda: rung.append(1), is_async=False).on_reset()

    assert rung == [1]


def test_a_lane_that_has_no_functions_is_let_sleep(memory: Cache) -> None:
    """To wake its thread costs the other lane, which has something to do."""
    rung: list[int] = []
    memory.cached(value)
    bell = Bell(memory.engine, lambda: rung.append(1), is_async=True)

    bell.on_records([FeedRecord(1, Key("a"), Kind.STALE, 1, "d")])
    bell.on_reset()

    assert not rung


def value() -> int:
    """What is cached."""
    return 1
