from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.model.entry import Entry, State
from everfresh.model.marks import override
from everfresh.protocol.reading import Rebuild, Serve, Settle, is_settled, reason_of, retry_in_s, verdict
from everfresh.protocol.requests import STRICT, Bounds, Loaded, Policy
from tests.unit.protocol.making import INNER, NOW, POLICY, entry, loaded

SECONDS = st.sampled_from([0.0, 9.0, 10.0, 11.0, inf])
BOUNDS = st.builds(Bounds, stale_while_revalidate_s=SECONDS, stale_if_error_s=SECONDS)
TIMES = st.none() | st.sampled_from([NOW - 10.0, NOW, NOW + 10.0])
ENTRIES = st.builds(
    entry,
    st.sampled_from(State),
    good_as_of=st.integers(4, 6),
    stale_since=st.none() | st.just(NOW - 10.0),
    retry_at=TIMES,
    expires_at=TIMES,
)
LOADED = st.builds(loaded, ENTRIES, unsettled=st.sampled_from([(), (INNER,)]))

AGED = Bounds(stale_while_revalidate_s=11.0)
FAILING = Bounds(stale_if_error_s=11.0)
DIRTY = entry(State.DIRTY, stale_since=NOW - 10.0)
SUSPECT = entry(State.SUSPECT, stale_since=NOW - 10.0)
BACKING_OFF = entry(State.DIRTY, stale_since=NOW - 10.0, retry_at=NOW + 1.0)
RETRY_DUE = entry(State.DIRTY, stale_since=NOW - 10.0, retry_at=NOW)
FAILED = entry(State.FAILED, stale_since=NOW - 10.0)
EXPIRED = entry(expires_at=NOW - 10.0)
EXPIRING = entry(expires_at=NOW)
LONG_OVER = entry(State.DIRTY, stale_since=NOW - 1.0, expires_at=NOW - 20.0)
LONG_OVER_AND_FAILING = entry(State.FAILED, stale_since=NOW - 1.0, expires_at=NOW - 20.0)
BUILDING = entry(State.BUILDING, stale_since=NOW - 10.0)


@pytest.mark.parametrize(
    ("found", "bounds", "expected"),
    [
        (None, AGED, Rebuild()),
        (entry(), STRICT, Serve(entry())),
        (entry(expires_at=NOW + 1.0), STRICT, Serve(entry(expires_at=NOW + 1.0))),
        (EXPIRED, STRICT, Rebuild()),
        (EXPIRING, STRICT, Rebuild()),
        (EXPIRED, AGED, Serve(EXPIRED, is_stale=True)),
        # The lifetime ended long before the event came, or before the build failed.
        (LONG_OVER, AGED, Rebuild()),
        (LONG_OVER_AND_FAILING, FAILING, Rebuild()),
        (DIRTY, STRICT, Rebuild()),
        (DIRTY, AGED, Serve(DIRTY, is_stale=True)),
        (DIRTY, Bounds(stale_while_revalidate_s=10.0), Rebuild()),
        (DIRTY, FAILING, Rebuild()),
        (SUSPECT, STRICT, Settle((INNER,), SUSPECT)),
        (SUSPECT, AGED, Serve(SUSPECT, is_stale=True)),
        (BUILDING, STRICT, Rebuild()),
        (BUILDING, AGED, Serve(BUILDING, is_stale=True)),
        (BACKING_OFF, STRICT, Rebuild()),
        (BACKING_OFF, FAILING, Serve(BACKING_OFF)),
        (BACKING_OFF, AGED, Serve(BACKING_OFF)),
        (RETRY_DUE, FAILING, Rebuild()),
        (FAILED, FAILING, Serve(FAILED)),
        (FAILED, AGED, Rebuild()),
        (FAILED, Bounds(stale_if_error_s=10.0), Rebuild()),
    ],
    ids=[
        "nothing",
        "fresh",
        "not-expired",
        "expired",
        "expires-now",
        "expired-in-bounds",
        "expired-before-it-was-dirty",
        "expired-before-it-failed",
        "dirty",
        "dirty-in-bounds",
        "dirty-at-the-bound",
        "dirty-is-no-error",
        "suspect",
        "suspect-in-bounds",
        "building",
        "building-in-bounds",
        "backing-off",
        "backing-off-in-bounds",
        "backing-off-while-stale-is-fine",
        "retry-due",
        "failed-in-bounds",
        "failed-while-stale-is-fine",
        "failed-at-the-bound",
    ],
)
def test_what_is_found_decides_what_a_reader_does(
    found: Entry | None, bounds: Bounds, expected: Serve | Settle | Rebuild
) -> None:
    """Serve it, serve it and refresh, settle what is below, or build."""
    assert verdict(loaded(found, unsettled=(INNER,)), bounds, good_from=7) == expected


def test_a_value_as_of_the_asked_position_is_good_though_events_came_since() -> None:
    """Who came before those events may have it."""
    assert verdict(loaded(DIRTY), STRICT, good_from=5) == Serve(DIRTY)


@pytest.mark.parametrize("found", [EXPIRED, EXPIRING], ids=["expired", "expires-now"])
def test_an_expired_value_is_good_as_of_no_position(found: Entry) -> None:
    """Time has passed, if nothing else."""
    assert verdict(loaded(found), STRICT, good_from=5) == Rebuild()


def test_a_clock_that_was_set_back_makes_nothing_fresh() -> None:
    """By it the event is still to come, and a strict reader knows better."""
    assert verdict(loaded(entry(State.DIRTY, stale_since=NOW + 5.0)), STRICT, good_from=7) == Rebuild()


def test_a_bound_may_be_a_part_of_a_second() -> None:
    """A page that is redrawn all the time may want no more."""
    found = entry(State.DIRTY, stale_since=NOW - 0.2)

    assert verdict(loaded(found), Bounds(stale_while_revalidate_s=0.5), good_from=7) == Serve(found, is_stale=True)


@given(LOADED, BOUNDS, st.integers(3, 7))
def test_nothing_is_served_that_is_known_to_be_out_of_date_beyond_the_bounds(
    found: Loaded, bounds: Bounds, good_from: int
) -> None:
    """Whatever is served is settled, or good as of what was asked, or within what the function declared."""
    outcome = verdict(found, bounds, good_from)

    if isinstance(outcome, Serve):
        served = outcome.entry
        stale_since = served.stale_since if served.stale_since is not None else served.expires_at
        allowed_s = max(bounds.stale_while_revalidate_s, bounds.stale_if_error_s)
        assert (
            is_settled(served, NOW)
            or served.position.sequence >= good_from
            or (stale_since is not None and NOW - stale_since < allowed_s)
        )


@given(LOADED, st.integers(3, 7))
def test_a_strict_reader_is_served_nothing_stale(found: Loaded, good_from: int) -> None:
    """Both bounds are zero, and nothing is younger than that."""
    outcome = verdict(found, STRICT, good_from)

    if isinstance(outcome, Serve):
        assert not outcome.is_stale
        assert is_settled(outcome.entry, NOW) or outcome.entry.position.sequence >= good_from


@given(LOADED, st.integers(3, 7))
def test_wider_bounds_never_make_a_reader_wait(found: Loaded, good_from: int) -> None:
    """Whoever declares FOREVER for both is served whatever is there."""
    forever = Bounds(stale_while_revalidate_s=inf, stale_if_error_s=inf)

    assert isinstance(verdict(found, forever, good_from), Serve)


# -------------------------------------------------------------------------------------------------------------- retry


@pytest.mark.parametrize(
    ("attempts", "longest_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (10, 256.0), (11, 300.0), (10**6, 300.0)]
)
def test_each_retry_may_wait_twice_as_long_up_to_a_limit(attempts: int, longest_s: float) -> None:
    """A source that is down is not asked again and again, nor forgotten."""
    policy = Policy(max_attempts=10**7, first_retry_s=0.5, longest_retry_s=300.0)

    assert retry_in_s(attempts, policy, 1.0) == longest_s


@given(st.integers(1, 2), st.floats(0.0, 1.0))
def test_retries_spread_over_the_whole_wait(attempts: int, roll: float) -> None:
    """Full jitter: those who failed together do not come back together."""
    longest_s = retry_in_s(attempts, POLICY, 1.0)
    assert longest_s is not None

    assert retry_in_s(attempts, POLICY, roll) == longest_s * roll


@pytest.mark.parametrize("attempts", [3, 4])
def test_after_so_many_tries_nobody_tries_again_by_himself(attempts: int) -> None:
    """An event or a person has to."""
    assert retry_in_s(attempts, POLICY, 1.0) is None


# ------------------------------------------------------------------------------------------------------------- reason


def test_a_reason_is_the_error_in_one_line_of_bounded_length() -> None:
    """It is stored with the entry, and shown in a terminal."""
    assert reason_of(ValueError("bad")) == "ValueError: bad"
    assert len(reason_of(ValueError("x" * 1_000))) == 300


def test_an_error_without_a_text_has_a_reason() -> None:
    """The function of a user raised it, and whoever failed with it must end the lease."""

    class Speechless(Exception):
        @override
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert reason_of(Speechless()) == "Speechless"


def test_a_reason_can_be_stored_as_utf8() -> None:
    """The name of a file may hold half a surrogate pair."""
    assert reason_of(OSError("\udcff")) == "OSError: ?"
