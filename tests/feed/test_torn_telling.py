"""An interrupt while listeners are told of records: Ctrl-C, a signal handler that raises. Nobody misses any for it."""

import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from everfresh import Cache, dep
from everfresh.feed.follower import Follower
from everfresh.feed.listeners import Listener
from everfresh.model.entry import FeedRecord
from everfresh.model.marks import override
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import DEADLINE_S

RESET = "reset"


class Notes(Listener):
    """What a listener was told; `trouble` comes in the middle of the next records."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.trouble: BaseException | None = None

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        self.said.extend(record.key for record in records)

    @override
    def on_reset(self) -> None:
        self.said.append(RESET)


def test_after_an_interrupt_everybody_starts_over(tmp_path: Path) -> None:
    """Who was told and who was not is not known; the records are not told again, and what follows is."""
    with closing(SqliteStore(tmp_path / "cache.db")) as store:
        follower = Follower(store)
        first, torn, last = Notes(), Notes(), Notes()
        for notes in (first, torn, last):
            follower.add(notes)
        torn.trouble = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            ByHand(store).put("a", 1)

        follower.confirm()
        ByHand(store).put("b", 1)

        assert (first.said, torn.said, last.said) == (["a", RESET, "b"], [RESET, "b"], [RESET, "b"])
        assert follower.position == ByHand(store).position()


def test_whoever_raises_starts_over(tmp_path: Path) -> None:
    """It may have been a signal handler, in the middle of what the listener did; the others are told as ever."""
    with closing(SqliteStore(tmp_path / "cache.db")) as store:
        follower = Follower(store)
        torn, other = Notes(), Notes()
        follower.add(torn)
        follower.add(other)
        torn.trouble = TimeoutError("an alarm")

        ByHand(store).put("a", 1)
        ByHand(store).put("b", 1)

        assert (torn.said, other.said) == ([RESET, "b"], ["a", "b"])


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), TimeoutError("an alarm")], ids=["interrupt", "alarm"])
def test_a_near_cache_serves_nothing_that_it_was_not_told_of(tmp_path: Path, trouble: BaseException) -> None:
    """A real signal comes while it waits to be told what another process has written."""
    truth = {"price": 1}
    with Cache(f"sqlite:///{tmp_path / 'cache.db'}") as ours, Cache(f"sqlite:///{tmp_path / 'cache.db'}") as theirs:

        @ours.cached(depends_on=[dep.Tag("price")])
        def price() -> int:
            return truth["price"]

        assert [price(), price()] == [1, 1]
        truth["price"] = 2
        theirs.blocking.invalidate(dep.Tag("price"))
        with held_until_alarm(ours, trouble), suppress(KeyboardInterrupt):
            price()

        assert price() == 2


@contextmanager
def held_until_alarm(cache: Cache, trouble: BaseException) -> Generator[None]:
    """Another thread is filling the near cache, until a signal comes whose handler raises."""
    is_held, has_rung = threading.Event(), threading.Event()

    def hold() -> None:
        with cache.engine.near._lock:  # noqa: SLF001 - nothing else makes whoever is told wait
            is_held.set()
            has_rung.wait(DEADLINE_S)

    def ring(*_: object) -> None:
        has_rung.set()
        raise trouble

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(DEADLINE_S)
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        has_rung.set()
        holder.join()
