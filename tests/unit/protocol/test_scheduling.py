"""When the queue looks at an entry, in which order, and how many may begin."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everfresh.model.entry import PLAIN_TERMS, Terms
from everfresh.protocol.requests import UNLIMITED, Limit
from everfresh.protocol.scheduling import (
    BREAK_AFTER_FAILURES,
    BREAK_AFTER_KEYS,
    FIRST_PAUSE_S,
    HEAD_START_S,
    LONGEST_PAUSE_S,
    NO_PACE,
    RECENT_LEVELS,
    RECENT_S,
    WATCHED_LEVELS,
    Pace,
    Quota,
    burst_of,
    due_after_touch,
    due_in_turn,
    has_lapsed,
    is_cold,
    is_paused,
    next_look,
    pace_after_failure,
    pace_after_start,
    pace_after_success,
    quota_of,
    rank_of,
    shows_event,
    urgency_of,
    was_look,
)

NOW = 1_700_000_000.0
KEYS = ("a", "b", "c")
# Times of a unix clock are known to some hundred nanoseconds; this is more, and far less than anybody notices.
HAIR_S = 1e-5

moments = st.floats(0.0, 1e5).map(lambda after_s: NOW + after_s)
durations = st.floats(0.001, 1e4)
rates = st.floats(0.01, 1000.0)


def broken(*, paused_until: float = 0.0, spent: float = 0.0) -> Pace:
    """The pace of a function whose upstream is down."""
    return Pace(
        failed=KEYS, n_failures=BREAK_AFTER_FAILURES, n_pauses=1, paused_until=paused_until, spent=spent, spent_at=NOW
    )


def after_failures(n: int, *, keys: tuple[str, ...] = KEYS, now: float = NOW, roll: float = 1.0) -> Pace:
    """The pace after so many failures, of the keys in turn."""
    pace = NO_PACE
    for number in range(n):
        pace = pace_after_failure(pace, keys[number % len(keys)], now=now, roll=roll)
    return pace


# ------------------------------------------------------------------------------------------------------------ debounce


def test_without_a_debounce_an_entry_is_due_at_once() -> None:
    """Nobody asked to wait for more events."""
    assert due_after_touch(PLAIN_TERMS, now=NOW, queued_at=NOW) == NOW


def test_without_a_debounce_further_events_do_not_put_a_refresh_off() -> None:
    """An entry that is touched again and again would always stand at the end of a queue that is behind."""
    assert due_after_touch(PLAIN_TERMS, now=NOW + 50, queued_at=NOW) == NOW


def test_after_a_clock_was_set_back_an_entry_is_due_now() -> None:
    """Not when the clock will have come so far again."""
    assert due_after_touch(PLAIN_TERMS, now=NOW - 3600, queued_at=NOW) == NOW - 3600


def test_a_debounce_waits_for_further_events() -> None:
    """The wait begins anew with each."""
    assert due_after_touch(Terms(debounce_s=2.0), now=NOW + 5, queued_at=NOW) == NOW + 7


def test_the_longest_wait_bounds_the_debounce() -> None:
    """Counted from the first event that nobody has answered."""
    assert due_after_touch(Terms(debounce_s=2.0, max_wait_s=6.0), now=NOW + 5, queued_at=NOW) == NOW + 6


@given(debounce_s=durations, max_wait_s=durations, gaps=st.lists(durations, max_size=20))
def test_no_stream_of_events_puts_a_refresh_off_beyond_the_longest_wait(
    debounce_s: float, max_wait_s: float, gaps: list[float]
) -> None:
    """However they come; and it never waits longer than the debounce after the last."""
    terms, now = Terms(debounce_s=debounce_s, max_wait_s=max_wait_s), NOW

    for gap_s in (0.0, *gaps):
        now += gap_s
        due = due_after_touch(terms, now=now, queued_at=NOW)

        assert due <= NOW + max_wait_s
        assert due <= now + debounce_s


# --------------------------------------------------------------------------------------------------------------- order


def rank(terms: Terms = PLAIN_TERMS, *, due: float = NOW, read_at: float = 0.0, watched_until: float = 0.0) -> float:
    return rank_of(terms, due=due, now=NOW, read_at=read_at, watched_until=watched_until)


def test_a_watched_entry_goes_before_a_recently_read_one_and_that_before_a_forgotten_one() -> None:
    """People look at the first, and may come back to the second."""
    watched, read, forgotten = rank(watched_until=NOW + 1), rank(read_at=NOW - 1), rank()

    assert (watched, read, forgotten) == (
        NOW - WATCHED_LEVELS * HEAD_START_S,
        NOW - RECENT_LEVELS * HEAD_START_S,
        NOW,
    )


def test_who_is_watched_and_read_stands_no_higher_than_who_is_watched() -> None:
    """Each entry has one head start beside its priority."""
    assert rank(watched_until=NOW + 1, read_at=NOW) == rank(watched_until=NOW + 1)


def test_who_was_watched_until_now_is_watched_no_more() -> None:
    """The end is the first moment without anybody."""
    assert rank(watched_until=NOW) == rank()


def test_a_reading_counts_for_an_hour() -> None:
    """Its last moment excluded."""
    assert rank(read_at=NOW - RECENT_S) == rank()
    assert rank(read_at=NOW - RECENT_S + 1) < rank()


def test_each_level_of_priority_is_worth_the_same_head_start() -> None:
    """Below zero too."""
    ranks = [rank(Terms(priority=level)) for level in (2, 1, 0, -1)]

    assert [later - sooner for sooner, later in pairwise(ranks)] == [HEAD_START_S] * 3


levels = st.integers(-5, 5)


@given(low=levels, high=levels, head=st.integers(0, WATCHED_LEVELS), wait_s=st.floats(1.0, 1e4))
def test_who_waits_long_enough_comes_first(low: int, high: int, head: int, wait_s: float) -> None:
    """Whatever stands above: it can overtake only as far as its head start reaches, so nobody is starved."""
    highest_s = (max(high - low, 0) + WATCHED_LEVELS) * HEAD_START_S
    waiting = rank_of(Terms(priority=low), due=NOW, now=NOW, read_at=0.0, watched_until=0.0)
    now = NOW + highest_s + wait_s

    newcomer = rank_of(
        Terms(priority=high),
        due=now,
        now=now,
        read_at=now if head == RECENT_LEVELS else 0.0,
        watched_until=now + 1 if head == WATCHED_LEVELS else 0.0,
    )

    assert waiting < newcomer


@given(
    level=levels,
    arrivals=st.lists(st.tuples(st.floats(0.0, 30.0), levels), min_size=1, max_size=80),
    n_per_turn=st.integers(1, 4),
)
def test_in_a_queue_that_falls_behind_nobody_is_starved(
    level: int, arrivals: list[tuple[float, int]], n_per_turn: int
) -> None:
    """Several come for each that is taken; before one that waits, only those go that came within their head start."""
    waiting = (rank_of(Terms(priority=level), due=NOW, now=NOW, read_at=0.0, watched_until=0.0), NOW, level)
    queue, went_before, now = [waiting], list[tuple[float, int]](), NOW

    for number, (gap_s, other) in enumerate(arrivals):
        now += gap_s
        heappush(queue, (rank_of(Terms(priority=other), due=now, now=now, read_at=0.0, watched_until=0.0), now, other))
        if number % n_per_turn == 0 and queue[0] != waiting:
            went_before.append(heappop(queue)[1:])

    assert all(due <= NOW + max(0, other - level) * HEAD_START_S for due, other in went_before)


# -------------------------------------------------------------------------------------------------------------- settle

SETTLE = Terms(settle_s=(2.0, 30.0))


@pytest.mark.parametrize(
    ("looked_after_s", "look_after_s"),
    [(0.0, 2.0), (1.9, 2.0), (2.0, 30.0), (29.9, 30.0), (30.0, None), (99.0, None)],
)
def test_an_entry_is_looked_at_again_after_each_delay(looked_after_s: float, look_after_s: float | None) -> None:
    """The next delay that is later than the look itself; when the last is over, the value stands as it is."""
    look = next_look(SETTLE, event_at=NOW, now=NOW + looked_after_s)

    assert look == (None if look_after_s is None else NOW + look_after_s)


def test_delays_need_no_order() -> None:
    """The nearest comes first."""
    assert next_look(Terms(settle_s=(30.0, 2.0)), event_at=NOW, now=NOW) == NOW + 2.0


@pytest.mark.parametrize(
    ("looked_after_s", "begun_after_s", "is_look"),
    [
        (0.0, 1.9, False),
        (0.0, 2.0, True),
        (0.0, 500.0, True),
        (2.0, 29.9, False),
        (2.0, 30.0, True),
        (30.0, 99.0, False),
    ],
)
def test_a_build_after_a_delay_that_nobody_looked_after_is_a_look(
    looked_after_s: float, begun_after_s: float, *, is_look: bool
) -> None:
    """One that began before the next delay cannot have seen what comes late; without an event nothing comes."""
    looked_at, begun_at = NOW + looked_after_s, NOW + begun_after_s

    assert was_look(SETTLE, event_at=NOW, looked_at=looked_at, begun_at=begun_at) is is_look
    assert not was_look(SETTLE, event_at=None, looked_at=looked_at, begun_at=begun_at)


def test_without_delays_nobody_looks_again() -> None:
    """An event is then believed at once."""
    assert next_look(PLAIN_TERMS, event_at=NOW, now=NOW) is None


@pytest.mark.parametrize(
    ("is_changed", "is_awaited", "shows"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_value_shows_the_event_when_it_changed_unless_the_function_says(
    is_changed: bool, is_awaited: bool | None, shows: bool
) -> None:
    """`settled` knows better than a digest."""
    assert shows_event(is_changed=is_changed, is_awaited=is_awaited) is shows


# -------------------------------------------------------------------------------------------------------- expiry, cold


@pytest.mark.parametrize(("after_s", "has_expired"), [(0.0, False), (30.0, False), (30.1, True)])
def test_a_job_lapses_when_nobody_began_it_in_time(after_s: float, has_expired: bool) -> None:
    """Counted from the event, when it was due at once."""
    assert has_lapsed(Terms(job_expires_s=30.0), queued_at=NOW, due=NOW, now=NOW + after_s) is has_expired


def test_the_time_that_the_queue_waits_by_itself_is_not_the_jobs() -> None:
    """A debounce longer than the job's life would else drop every entry."""
    assert not has_lapsed(Terms(job_expires_s=30.0), queued_at=NOW, due=NOW + 60, now=NOW + 70)


def test_without_an_end_no_job_lapses() -> None:
    """A refresh is worth waiting for, unless somebody said otherwise."""
    assert not has_lapsed(PLAIN_TERMS, queued_at=0.0, due=0.0, now=NOW)


def test_what_no_event_queued_does_not_lapse() -> None:
    """A value whose lifetime is over, or a builder that died, is nobody's late job."""
    assert not has_lapsed(Terms(job_expires_s=30.0), queued_at=None, due=0.0, now=NOW)


@pytest.mark.parametrize(("unread_s", "is_dropped"), [(0.0, False), (100.0, False), (100.1, True)])
def test_an_entry_is_cold_when_nobody_read_it_for_its_time(unread_s: float, is_dropped: bool) -> None:
    """The very end is still warm."""
    terms = Terms(keep_warm_s=100.0)

    assert is_cold(terms, read_at=NOW - unread_s, watched_until=0.0, now=NOW) is is_dropped


def test_a_watched_entry_is_never_cold() -> None:
    """However long ago it was read."""
    assert not is_cold(Terms(keep_warm_s=1.0), read_at=0.0, watched_until=NOW + 1, now=NOW)


def test_without_a_time_nothing_is_cold() -> None:
    """Everything is kept up to date, unless somebody said otherwise."""
    assert not is_cold(PLAIN_TERMS, read_at=0.0, watched_until=0.0, now=NOW)


# -------------------------------------------------------------------------------------------------- concurrency, rate


def quota(limit: Limit, pace: Pace = NO_PACE, *, n_leased: int = 0, n_max: int = 100, now: float = NOW) -> Quota:
    return quota_of(limit, pace, n_leased=n_leased, n_max=n_max, now=now)


def test_without_limits_a_worker_takes_what_it_has_room_for() -> None:
    """Whatever is running elsewhere."""
    assert quota(UNLIMITED, n_leased=1000, n_max=7) == Quota(7)


@pytest.mark.parametrize(("n_leased", "n"), [(0, 3), (2, 1), (3, 0), (5, 0)])
def test_what_is_built_anywhere_counts_towards_the_concurrency(n_leased: int, n: int) -> None:
    """Readers' builds too, so that there may be more than are allowed."""
    assert quota(Limit(n_at_once=3), n_leased=n_leased) == Quota(n)


def test_a_concurrency_beyond_the_workers_room_is_bounded_by_it() -> None:
    """The lesser of both."""
    assert quota(Limit(n_at_once=50), n_max=7) == Quota(7)


@pytest.mark.parametrize(("per_s", "burst"), [(0.1, 1.0), (1.0, 1.0), (5.0, 5.0)])
def test_after_a_rest_a_seconds_worth_may_begin_at_once(per_s: float, burst: float) -> None:
    """At least one, however slow the rate."""
    assert burst_of(per_s) == burst
    assert quota(Limit(per_s=per_s)) == Quota(int(burst))


def test_when_the_rate_is_spent_it_says_when_the_next_may_begin() -> None:
    """The worker sleeps until then."""
    limit = Limit(per_s=0.5)
    pace = pace_after_start(limit, NO_PACE, n_started=1, now=NOW)

    assert quota(limit, pace) == Quota(0, NOW + 2.0)


def test_a_concurrency_that_is_used_up_hides_the_rate() -> None:
    """The end of a build says when to look again."""
    assert quota(Limit(n_at_once=1, per_s=1.0), n_leased=1) == Quota(0)


def test_what_begins_without_a_rate_is_not_counted() -> None:
    """There is nothing to spend."""
    assert pace_after_start(UNLIMITED, NO_PACE, n_started=5, now=NOW) == NO_PACE


def test_who_began_nothing_spent_nothing() -> None:
    """And the time since the last start goes on counting."""
    pace = Pace(spent=1.0, spent_at=NOW - 1)

    assert pace_after_start(Limit(per_s=1.0), pace, n_started=0, now=NOW) == pace


@dataclass(frozen=True, slots=True)
class Visit:
    """A worker that comes after a while, with room for so many."""

    after_s: float
    n_max: int


visits = st.lists(st.builds(Visit, st.floats(0.0, 20.0), st.integers(1, 50)), min_size=1, max_size=60)


@given(per_s=rates, visits=visits)
@example(per_s=1000.0, visits=[Visit(0.0, 50)] * 40 + [Visit(0.001, 50)] * 20)
def test_in_no_window_more_begin_than_the_rate_and_one_burst(per_s: float, visits: list[Visit]) -> None:
    """Whenever workers come, and however many they would take."""
    limit, pace, now = Limit(per_s=per_s), NO_PACE, NOW
    starts: list[tuple[float, int]] = []
    for visit in visits:
        now += visit.after_s
        n = quota(limit, pace, n_max=visit.n_max, now=now).n
        pace = pace_after_start(limit, pace, n_started=n, now=now)
        starts.append((now, n))

    for number, (first, _) in enumerate(starts):
        n_begun = 0
        for moment, n in starts[number:]:
            n_begun += n
            assert n_begun <= burst_of(per_s) + per_s * (moment - first + HAIR_S)


@given(per_s=rates, visits=visits)
def test_the_rate_is_used_to_the_full(per_s: float, visits: list[Visit]) -> None:
    """Whoever comes when it was said that the next may begin, may begin one."""
    limit, pace, now = Limit(per_s=per_s), NO_PACE, NOW
    for visit in visits:
        found = quota(limit, pace, n_max=visit.n_max, now=now)
        if found.n == 0:
            assert found.next_at is not None
            now = max(now, found.next_at)
            found = quota(limit, pace, n_max=visit.n_max, now=now)
        assert found.n >= 1
        pace = pace_after_start(limit, pace, n_started=found.n, now=now)


@given(per_s=rates, back_s=st.floats(0.0, 1e6), n_started=st.integers(1, 5))
def test_a_clock_that_was_set_back_holds_nothing_up_for_long(per_s: float, back_s: float, n_started: int) -> None:
    """At most for twice as long as it takes to pay all of it back."""
    limit = Limit(per_s=per_s)
    n_started = min(n_started, int(burst_of(per_s)))
    pace = pace_after_start(limit, NO_PACE, n_started=n_started, now=NOW)
    longest_s = 2 * burst_of(per_s) / per_s + HAIR_S
    moments = (NOW - back_s, NOW - back_s + longest_s)

    assert any(quota(limit, pace, now=now).n for now in moments)


def test_a_clock_that_was_set_back_a_little_gives_nothing_back() -> None:
    """Else every correction of the clock would be a burst."""
    limit = Limit(per_s=1.0)
    pace = pace_after_start(limit, NO_PACE, n_started=1, now=NOW)

    assert quota(limit, pace, now=NOW - 0.5).n == 0


# ----------------------------------------------------------------------------------------------------- circuit breaker


@pytest.mark.parametrize(
    ("keys", "n_failures", "is_broken"),
    [
        (KEYS, BREAK_AFTER_FAILURES - 1, False),
        (KEYS, BREAK_AFTER_FAILURES, True),
        (KEYS[: BREAK_AFTER_KEYS - 1], 100, False),
        (("a", "b", "c", "d", "e", "f"), 6, True),
    ],
)
def test_a_function_breaks_when_several_entries_fail_one_after_the_other(
    keys: tuple[str, ...], n_failures: int, is_broken: bool
) -> None:
    """One entry alone may be broken by itself."""
    assert after_failures(n_failures, keys=keys).is_broken is is_broken


def test_only_as_many_keys_are_kept_as_are_needed() -> None:
    """The pace of a function stays small, however many of its entries fail."""
    assert len(after_failures(100, keys=tuple("abcdefghij")).failed) == BREAK_AFTER_KEYS


def test_a_function_that_is_paused_begins_nothing_until_its_pause_is_over() -> None:
    """And says when to look again."""
    assert quota(UNLIMITED, broken(paused_until=NOW + 3)) == Quota(0, NOW + 3)


@pytest.mark.parametrize(("n_leased", "n"), [(0, 1), (1, 0), (2, 0)])
def test_after_the_pause_one_refresh_tries(n_leased: int, n: int) -> None:
    """The others wait for what comes of it."""
    assert quota(Limit(n_at_once=10), broken(), n_leased=n_leased) == Quota(n)


def test_a_try_after_a_pause_keeps_to_the_rate() -> None:
    """An upstream that is down is no reason to ask it more often."""
    assert quota(Limit(per_s=0.01), broken(spent=1.0)) == Quota(0, NOW + 100)


def test_what_fails_during_a_pause_does_not_prolong_it() -> None:
    """Many were under way when it began; they say nothing new."""
    pace = after_failures(BREAK_AFTER_FAILURES)

    later = pace_after_failure(pace, "d", now=NOW + FIRST_PAUSE_S / 2, roll=1.0)

    assert (later.paused_until, later.n_pauses) == (pace.paused_until, 1)


def test_one_entry_that_failed_for_long_does_not_lengthen_the_first_pause() -> None:
    """What counts is how long all of them fail."""
    pace = after_failures(50, keys=("a",))
    for key in ("b", "c"):
        pace = pace_after_failure(pace, key, now=NOW, roll=1.0)

    assert pace.paused_until == NOW + FIRST_PAUSE_S


def test_pauses_double_up_to_the_longest() -> None:
    """Each try that fails says that the upstream needs longer."""
    pace, now, pauses = after_failures(BREAK_AFTER_FAILURES - 1), NOW, list[float]()
    for _ in range(9):
        pace = pace_after_failure(pace, "a", now=now, roll=1.0)
        pauses.append(pace.paused_until - now)
        now = pace.paused_until

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


@given(n=st.integers(1, 5000), roll=st.floats(0.0, 1.0))
def test_every_pause_is_at_least_half_of_its_length_and_never_beyond_the_longest(n: int, roll: float) -> None:
    """The other half is chance, so that the functions of one upstream do not come back together."""
    before = Pace(failed=KEYS, n_failures=BREAK_AFTER_FAILURES + n, n_pauses=n)
    longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(n, 16))

    pause_s = pace_after_failure(before, "a", now=NOW, roll=roll).paused_until - NOW

    assert longest_s / 2 - HAIR_S <= pause_s <= longest_s + HAIR_S


def test_a_success_ends_it_all() -> None:
    """Whatever was wrong is over; the next trouble begins with the shortest pause again."""
    assert pace_after_success(after_failures(20)) == NO_PACE


def test_a_success_leaves_the_rate_as_it_is() -> None:
    """It is no reason to begin more."""
    after = pace_after_success(broken(paused_until=NOW + 9, spent=1.0))

    assert after == Pace(spent=1.0, spent_at=NOW)


def test_a_success_in_good_times_changes_nothing() -> None:
    """So that stores need not write."""
    pace = Pace(spent=1.0, spent_at=NOW)

    assert pace_after_success(pace) is pace


def test_a_clock_that_was_set_back_ends_a_pause() -> None:
    """No pause is longer than the longest, so this one is from another time."""
    pace = broken(paused_until=NOW + 3)

    assert is_paused(pace, NOW)
    assert not is_paused(pace, NOW - 3600)
    assert quota(UNLIMITED, pace, now=NOW - 3600) == Quota(1)


def test_of_those_that_take_turns_the_most_urgent_goes_first() -> None:
    """By priority, then who is watched, then who was read last."""
    least_first = [
        urgency_of(PLAIN_TERMS, read_at=NOW - 90.0, watched_until=NOW - 50.0),
        urgency_of(PLAIN_TERMS, read_at=NOW - 40.0, watched_until=0.0),
        urgency_of(PLAIN_TERMS, read_at=NOW - 90.0, watched_until=NOW + 1.0),
        urgency_of(Terms(priority=1), read_at=0.0, watched_until=0.0),
    ]

    assert sorted(least_first) == least_first[::-1]


def test_turns_are_as_far_apart_as_the_rate_says() -> None:
    """The first is due at once."""
    assert [due_in_turn(place, 4.0, now=NOW) - NOW for place in range(3)] == [0.0, 0.25, 0.5]
