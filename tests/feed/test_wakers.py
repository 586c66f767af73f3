"""Wakers: whose error a build's error is, of those who wait for it."""

import pytest

from everfresh.feed.wakers import Waiter, Wakers
from everfresh.model.entry import Key
from everfresh.model.position import Position

ERROR = LookupError("no such thing")


@pytest.mark.parametrize(
    ("begun", "is_his"),
    [(Position("e1", 8), True), (Position("e1", 7), True), (Position("e1", 6), False), (Position("e2", 8), False)],
    ids=["later", "at-once", "earlier", "in-another-life"],
)
def test_the_error_of_a_build_is_his_who_came_before_it_began(begun: Position, *, is_his: bool) -> None:
    """What it met may be over for who came later, or in another life of the store, which counts anew."""
    wakers, woken = Wakers(), []
    waiter = Waiter(lambda: woken.append(True), Position("e1", 7))
    wakers.add(Key("k"), waiter)

    wakers.share(Key("k"), begun, ERROR)

    assert (waiter.error is ERROR, bool(woken)) == (is_his, is_his)


def test_who_ignores_failures_is_given_none() -> None:
    """Nor woken by one."""
    wakers, woken = Wakers(), []
    waiter = Waiter(lambda: woken.append(True), Position("e1", 7), ignores_failures=True)
    wakers.add(Key("k"), waiter)

    wakers.share(Key("k"), Position("e1", 8), ERROR)

    assert (waiter.error, woken) == (None, [])
