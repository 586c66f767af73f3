"""What became of each event."""

from collections.abc import Iterable

import msgspec
import pytest

from everfresh import Entry, Key, Position, State
from everfresh.demo.ledger import PATIENCE_S, Done, Ledger, Outcome, outcome_of
from everfresh.demo.terminal import line_of

A, B, C = Key("a"), Key("b"), Key("c")
NAMES = {A: "alpha", B: "beta"}


def at(sequence: int) -> Position:
    return Position("e", sequence)


def entry(key: Key = A, *, state: State = State.FRESH, version: int = 2, as_of: int, changed_at: int) -> Entry:
    return Entry(
        key=key,
        function="f",
        state=state,
        version=version,
        value=b"",
        digest="d",
        position=at(as_of),
        changed_at=at(changed_at),
        built_at=0.0,
        build_s=0.0,
    )


def applied(touched: Iterable[Key]) -> Ledger:
    """A ledger in which an event at position 5 has just touched these entries."""
    ledger = Ledger(NAMES)
    ledger.applied("t.x", at(5), touched, now=10.0)
    return ledger


@pytest.mark.parametrize(
    ("stored", "outcome"),
    [
        (entry(as_of=7, changed_at=7), Outcome.REFRESHED),
        (entry(as_of=7, changed_at=3), Outcome.EQUAL),
        (entry(state=State.DIRTY, as_of=3, changed_at=3), None),
        (entry(state=State.SUSPECT, as_of=3, changed_at=3), None),
        (entry(state=State.BUILDING, as_of=3, changed_at=3), None),
        (entry(state=State.DIRTY, as_of=8, changed_at=8), Outcome.REFRESHED),
        (entry(state=State.FAILED, as_of=3, changed_at=3), Outcome.FAILED),
        (None, Outcome.DROPPED),
    ],
    ids=["new value", "equal", "dirty", "suspect", "building", "touched again", "failed", "gone"],
)
def test_what_is_stored_says_how_an_event_came_out(stored: Entry | None, outcome: Outcome | None) -> None:
    """An entry is settled when it is good as of the event, even if a later one has touched it again."""
    assert outcome_of(at(5), stored) is outcome


def test_a_build_that_failed_and_is_tried_again_counts_as_failed() -> None:
    """The terminal does not wait for the upstream to come back."""
    failed = msgspec.structs.replace(entry(state=State.DIRTY, as_of=3, changed_at=3), attempts=1, retry_at=12.0)

    assert outcome_of(at(5), failed) is Outcome.FAILED


def test_an_event_that_touches_nothing_is_done_at_once() -> None:
    """Nothing here depends on it."""
    (done,) = applied([]).done(now=10.0, n_browsers=1)

    assert done.n_touched == 0


def test_an_event_waits_for_every_entry_and_every_frame() -> None:
    """Its time is that of the last widget that reached a browser."""
    ledger = applied([A, B, C])

    ledger.stored(A, entry(A, as_of=7, changed_at=7), now=11.0)
    ledger.sent("alpha", 2, now=11.1)
    ledger.stored(C, entry(C, as_of=7, changed_at=3), now=11.2)
    assert ledger.done(now=11.3, n_browsers=1) == []
    ledger.stored(B, entry(B, as_of=8, changed_at=8), now=11.5)
    assert ledger.done(now=11.5, n_browsers=1) == []
    ledger.sent("beta", 2, now=11.6)
    (done,) = ledger.done(now=11.6, n_browsers=1)

    assert done.outcomes == {Outcome.REFRESHED: 2, Outcome.EQUAL: 1}
    assert done.widgets == ("alpha", "beta")
    assert done.to_browser_s == pytest.approx(1.6)
    assert ledger.done(now=12.0, n_browsers=1) == []


def test_a_frame_may_be_seen_before_the_entry_is() -> None:
    """The stream and the terminal follow the same feed, in no order."""
    ledger = applied([A])

    ledger.sent("alpha", 2, now=11.0)
    ledger.stored(A, entry(A, as_of=7, changed_at=7), now=11.1)
    (done,) = ledger.done(now=11.1, n_browsers=1)

    assert done.to_browser_s == pytest.approx(1.0)


def test_an_old_frame_is_not_taken_for_the_new_one() -> None:
    """A version below the one that the event made says nothing of the event."""
    ledger = applied([A])

    ledger.stored(A, entry(A, version=3, as_of=7, changed_at=7), now=11.0)
    ledger.sent("alpha", 2, now=11.1)

    assert ledger.done(now=11.1, n_browsers=1) == []


def test_no_browser_means_no_waiting() -> None:
    """The line comes when the entries are ready."""
    ledger = applied([A])
    ledger.stored(A, entry(A, as_of=7, changed_at=7), now=11.5)

    (done,) = ledger.done(now=11.5, n_browsers=0)

    assert done.to_browser_s is None
    assert done.settled_s == pytest.approx(1.5)


def test_a_browser_that_shows_other_widgets_is_not_waited_for_for_long() -> None:
    """The line comes all the same."""
    ledger = applied([A])
    ledger.stored(A, entry(A, as_of=7, changed_at=7), now=11.0)

    assert ledger.done(now=11.0 + PATIENCE_S / 2, n_browsers=1) == []
    assert len(ledger.done(now=11.0 + PATIENCE_S, n_browsers=1)) == 1


@pytest.mark.parametrize(
    ("done", "n_browsers", "line"),
    [
        (
            Done(topic="t.x", n_touched=0, outcomes={}, widgets=(), to_browser_s=None, settled_s=0.0),
            0,
            "touched 0: nothing here depends on it",
        ),
        (
            Done(
                topic="t.x",
                n_touched=3,
                outcomes={Outcome.REFRESHED: 1, Outcome.EQUAL: 2},
                widgets=("alpha",),
                to_browser_s=1.234,
                settled_s=1.5,
            ),
            1,
            "touched 3: 1 refreshed, 2 equal; 1.23 s to the browser: alpha",
        ),
        (
            Done(
                topic="t.x",
                n_touched=1,
                outcomes={Outcome.EQUAL: 1},
                widgets=(),
                to_browser_s=None,
                settled_s=1.5,
            ),
            1,
            "touched 1: 1 equal; no widget changed (1.50 s)",
        ),
        (
            Done(
                topic="t.x",
                n_touched=1,
                outcomes={Outcome.REFRESHED: 1},
                widgets=("alpha",),
                to_browser_s=None,
                settled_s=1.5,
            ),
            0,
            "touched 1: 1 refreshed; ready after 1.50 s, no browser is open: alpha",
        ),
        (
            Done(
                topic="t.x",
                n_touched=1,
                outcomes={Outcome.REFRESHED: 1},
                widgets=("alpha",),
                to_browser_s=None,
                settled_s=1.5,
            ),
            2,
            "touched 1: 1 refreshed; ready after 1.50 s, no browser shows it: alpha",
        ),
    ],
    ids=["nothing", "sent", "equal", "no browser", "other widgets"],
)
def test_a_line_says_topic_entries_and_time(done: Done, n_browsers: int, line: str) -> None:
    """One line per event."""
    told = line_of(done, clock="12:03:11", n_browsers=n_browsers)

    assert told.startswith("12:03:11  t.x ")
    assert told.endswith(line)
