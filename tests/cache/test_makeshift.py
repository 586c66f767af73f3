"""A function that catches the failure of another one that it calls, and goes on without it."""

import pytest

from everfresh import Cache, State, SyncFunction
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import until


class Upstream:
    """Something that is down, or gives a value."""

    def __init__(self) -> None:
        self.is_down = True

    def ask(self) -> str:
        if self.is_down:
            raise ConnectionError("down")
        return "good"


def outer_of(cache: Cache, upstream: Upstream) -> SyncFunction[[], str]:
    """A function that does without the one that it calls when that fails."""

    @cache.cached
    def inner() -> str:
        return upstream.ask()

    @cache.cached
    def outer() -> str:
        try:
            return inner()
        except ConnectionError:
            return "without"

    return outer


def test_what_was_built_without_a_failed_one_is_not_fresh() -> None:
    """Nobody would build it again when the other is well."""
    upstream = Upstream()
    with Cache() as cache:
        outer = outer_of(cache, upstream)

        assert outer() == "without"
        entry = outer.entry()

        assert entry is not None
        assert entry.state is State.DIRTY
        assert entry.retry_at is not None


def test_a_strict_reader_gets_the_whole_value_once_the_failed_one_is_well() -> None:
    """What was made without it is known to be lacking."""
    upstream = Upstream()
    with Cache() as cache:
        outer = outer_of(cache, upstream)

        outer()
        upstream.is_down = False

        assert outer() == "good"


@pytest.mark.parametrize("url", ["memory:", "sqlite"])
def test_a_worker_tries_it_again_by_itself(url: str, tmp_path: object) -> None:
    """With a pause, as for any failure."""
    clock = FakeClock()
    upstream = Upstream()
    with Cache(url if url == "memory:" else f"sqlite:///{tmp_path}/cache.db", clock=clock) as cache:
        outer = outer_of(cache, upstream)

        outer()
        upstream.is_down = False
        with Worker(cache).in_thread():
            clock.advance(600.0)

            until(lambda: outer.peek() == "good", what="the worker has built it with the other")
