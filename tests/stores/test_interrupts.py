"""An interrupt in the middle of a step: Ctrl-C, a time limit's signal handler."""

from pathlib import Path

import pytest

from everfresh import Cache, Event, dep, track
from everfresh.testing.clock import FakeClock


class Interrupting(FakeClock):
    """A clock that can be told to raise once, when a step asks for the time."""

    def __init__(self) -> None:
        super().__init__()
        self.is_armed = False

    def __call__(self) -> float:
        if self.is_armed:
            self.is_armed = False
            raise KeyboardInterrupt
        return super().__call__()


def test_an_interrupted_step_leaves_no_transaction_open(tmp_path: Path) -> None:
    """It would lock every other process out, and break every later step of this one."""
    clock = Interrupting()
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    with Cache(url, clock=clock) as ours, Cache(url) as theirs:
        clock.is_armed = True
        with pytest.raises(KeyboardInterrupt):
            ours.blocking.invalidate(dep.Tag("t"))

        theirs.blocking.put("a", 1)
        ours.blocking.put("b", 2)

        assert theirs.blocking.get("b") == 2


def test_an_interrupted_step_in_memory_begins_a_new_life() -> None:
    """There is no way back to the state before it, and half of a step must not stay."""
    clock = Interrupting()
    with Cache(clock=clock) as cache:

        @cache.cached(depends_on=[dep.Tag("t")])
        def answer() -> int:
            return 42

        answer()
        before = cache.blocking.position()
        clock.is_armed = True
        with pytest.raises(KeyboardInterrupt):
            cache.blocking.invalidate(dep.Tag("t"))

        assert cache.blocking.position().epoch != before.epoch
        assert answer.peek() is None
        assert answer() == 42


def test_events_find_what_was_built_in_the_new_life() -> None:
    """Whoever published in the old one knows its shapes, and more of them than there are now."""
    clock = Interrupting()
    truth = {1: "old"}
    with Cache(clock=clock) as cache:

        @cache.cached(depends_on=[dep.Id("author", 1), dep.Topic("author.#"), dep.Scope("author", {"age": 7})])
        def author() -> str:
            return "author"

        @cache.cached
        def article(number: int) -> str:
            track(dep.Id("article", number))
            return truth[number]

        author()
        changed = Event.change("author", before={"id": 1}, after={"id": 1})
        cache.blocking.publish(changed)
        clock.is_armed = True
        with pytest.raises(KeyboardInterrupt):
            cache.blocking.publish(changed)
        article(1)

        truth[1] = "new"
        cache.blocking.publish(Event.change("article", before={"id": 1}, after={"id": 1}))

        assert article(1) == "new"
