"""When the queue looks at an entry, in which order, and what it may begin: all of it decided here, from numbers.

Rules
- An event makes an entry due after `debounce_s`; further events put that off, at most to `max_wait_s` after the first.
  Without a debounce an entry is due since its first unanswered event: else what is touched again and again would
  always stand at the end of a queue that is behind.
- The order is one score, the due time minus a head start for each level: whoever waits long enough comes first, so the
  low levels are never starved. Watched entries stand two levels higher, recently read ones one.
- After an event the value may show it late. An entry whose build came out equal is looked at again after each delay.
- A function whose entries fail one after the other is paused: its upstream is down, and tries would be burnt for
  nothing. After the pause one refresh tries; the others follow when it succeeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import msgspec

from everfresh.model.entry import Terms
from everfresh.protocol.requests import Limit

# A level is worth a minute of waiting: much for people who look at a page, little for a queue that is behind.
HEAD_START_S = 60.0
WATCHED_LEVELS = 2
RECENT_LEVELS = 1
RECENT_S = 3600.0

# One entry may be broken by itself; as many different ones in a row are not.
BREAK_AFTER_KEYS = 3
BREAK_AFTER_FAILURES = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

# What sums of unix times lose; without it the moment at which the next may begin would come a hair too early.
ROUNDING_S = 1e-6


class Pace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the refreshes of one function went lately.

    `failed` are the last different keys that failed since the last success, `n_failures` how many failures there were,
    `n_pauses` how many pauses, and `paused_until` when the next refresh may try. `spent` is what the rate has used up,
    as of `spent_at`.
    """

    failed: tuple[str, ...] = ()
    n_failures: int = 0
    n_pauses: int = 0
    paused_until: float = 0.0
    spent: float = 0.0
    spent_at: float = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether the function's upstream counts as down."""
        return self.n_failures >= BREAK_AFTER_FAILURES and len(self.failed) >= BREAK_AFTER_KEYS


NO_PACE = Pace()


@dataclass(frozen=True, slots=True)
class Quota:
    """How many refreshes of a function may begin now; if that is none, when to ask again (None: anytime)."""

    n: int
    next_at: float | None = None


def due_after_touch(terms: Terms, *, now: float, queued_at: float) -> float:
    """When an entry that an event touched now falls due, the first unanswered event having come at `queued_at`."""
    if not terms.debounce_s:
        return min(now, queued_at)
    quiet_at = now + terms.debounce_s
    return quiet_at if terms.max_wait_s is None else min(quiet_at, queued_at + terms.max_wait_s)


def rank_of(terms: Terms, *, due: float, now: float, read_at: float, watched_until: float) -> float:
    """The place in the queue: the lowest goes first."""
    level = terms.priority
    if watched_until > now:
        level += WATCHED_LEVELS
    elif now - read_at < RECENT_S:
        level += RECENT_LEVELS
    return due - level * HEAD_START_S


def urgency_of(terms: Terms, *, read_at: float, watched_until: float) -> tuple[int, float]:
    """The place among those that fall due one after the other: the lowest goes first.

    A watch ends later than any read was, so of equal priority what is watched comes before what was read.
    """
    return -terms.priority, -max(watched_until, read_at)


def due_in_turn(place: int, per_s: float, *, now: float) -> float:
    """When the one at that place, from 0, falls due."""
    return now + place / per_s


def next_look(terms: Terms, *, event_at: float, now: float) -> float | None:
    """When to look again at an entry that does not show its event yet; None when it was looked at often enough."""
    return min((event_at + delay_s for delay_s in terms.settle_s if event_at + delay_s > now), default=None)


def was_look(terms: Terms, *, event_at: float | None, looked_at: float, begun_at: float) -> bool:
    """Whether a build that began then was to look for a late change: since `looked_at`, a time for that had come."""
    return event_at is not None and any(looked_at < event_at + delay_s <= begun_at for delay_s in terms.settle_s)


def shows_event(*, is_changed: bool, is_awaited: bool | None) -> bool:
    """Whether the value that was built shows the event: as the function says, else when it is another one."""
    return is_changed if is_awaited is None else is_awaited


def has_lapsed(terms: Terms, *, queued_at: float | None, now: float, due: float | None = None) -> bool:
    """Whether a refresh has waited, since it was due, for so long that nobody wants it any more."""
    if terms.job_expires_s is None or queued_at is None:
        return False
    return now - max(queued_at, queued_at if due is None else due) > terms.job_expires_s


def is_cold(terms: Terms, *, read_at: float, watched_until: float, now: float) -> bool:
    """Whether nobody has read the entry for so long that it is not worth a refresh."""
    return terms.keep_warm_s is not None and watched_until <= now and now - read_at > terms.keep_warm_s


def quota_of(limit: Limit, pace: Pace, *, n_leased: int, n_max: int, now: float) -> Quota:
    """How many refreshes of a function may begin now."""
    if pace.is_broken and is_paused(pace, now):
        return Quota(0, pace.paused_until)
    # Of a broken function one tries, and the others wait for what comes of it.
    n_at_once = 1 if pace.is_broken else limit.n_at_once
    n = n_max if n_at_once is None else min(n_max, max(0, n_at_once - n_leased))
    if limit.per_s is None or n == 0:
        return Quota(n)
    n_left = burst_of(limit.per_s) - _spent(limit.per_s, pace, now)
    n_allowed = floor(n_left + limit.per_s * ROUNDING_S)
    if n_allowed >= 1:
        return Quota(min(n, n_allowed))
    return Quota(0, now + (1.0 - n_left) / limit.per_s)


def is_paused(pace: Pace, now: float) -> bool:
    """Whether the function waits before its next try. No pause is longer than the longest: the clock was set back."""
    return now < pace.paused_until <= now + LONGEST_PAUSE_S


def burst_of(per_s: float) -> float:
    """How many may begin at once after a rest: a second's worth, at least one."""
    return max(1.0, per_s)


def pace_after_start(limit: Limit, pace: Pace, *, n_started: int, now: float) -> Pace:
    """The pace once so many refreshes began."""
    if limit.per_s is None or not n_started:
        return pace
    return msgspec.structs.replace(pace, spent=_spent(limit.per_s, pace, now) + n_started, spent_at=now)


def pace_after_failure(pace: Pace, key: str, *, now: float, roll: float) -> Pace:
    """The pace once a build of the key failed; a function that is broken is paused, twice as long each time."""
    failed = pace.failed if key in pace.failed else (*pace.failed, key)[-BREAK_AFTER_KEYS:]
    after = msgspec.structs.replace(pace, failed=failed, n_failures=pace.n_failures + 1)
    if not after.is_broken or is_paused(pace, now):
        # Those that were under way when the pause began say nothing new.
        return after
    # Beyond 2**16 the longest pause decides anyway.
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(pace.n_pauses, 16)) * (0.5 + roll / 2)
    return msgspec.structs.replace(after, n_pauses=pace.n_pauses + 1, paused_until=now + pause_s)


def pace_after_success(pace: Pace) -> Pace:
    """The pace once a build succeeded: whatever was wrong is over."""
    if not pace.n_failures:
        return pace
    return msgspec.structs.replace(pace, failed=(), n_failures=0, n_pauses=0, paused_until=0.0)


def _spent(per_s: float, pace: Pace, now: float) -> float:
    if pace.spent_at - now > pace.spent / per_s:
        # The clock was set back so far that waiting for it would take longer than to pay all of it back.
        return 0.0
    # Set back by less, it gives nothing back, and takes nothing.
    return max(0.0, pace.spent - max(0.0, now - pace.spent_at) * per_s)
