"""Time and chance as arguments, so that tests own both."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from math import inf

from everfresh.model.errors import InvalidOption

Clock = Callable[[], float]
Dice = Callable[[], float]

FOREVER = timedelta.max
"""A bound without an end, for `stale_while_revalidate` and `stale_if_error`."""


def wall_clock() -> float:
    """Seconds since 1970, the clock that all processes on one machine share."""
    return time.time()


# The system's: whoever forks or seeds `random` would have all processes come back at the same moments.
_dice = random.SystemRandom()


def fair_dice() -> float:
    """A number from 0 to 1, each as likely."""
    return _dice.random()


def seconds_of(duration: object, *, option: str) -> float:
    """The duration in seconds, `inf` for FOREVER.

    Raises:
        InvalidOption: it is negative, or no timedelta; the message names `option`.
    """
    if not isinstance(duration, timedelta):
        msg = f"{option}: {duration!r} is no duration. Use a timedelta, for example timedelta(seconds=30)."
        raise InvalidOption(msg)
    if duration == FOREVER:
        return inf
    if duration < timedelta(0):
        msg = f"{option}: {duration!r} is negative. Use zero or more."
        raise InvalidOption(msg)
    return duration.total_seconds()
