import time
from datetime import timedelta
from math import inf

import pytest

from everfresh.model.clock import FOREVER, fair_dice, seconds_of, wall_clock
from everfresh.model.errors import InvalidOption


def test_the_wall_clock_is_the_one_that_all_processes_share() -> None:
    """Leases of one process are judged by another."""
    before = time.time()

    now = wall_clock()

    assert before <= now <= time.time()


def test_dice_fall_between_zero_and_one() -> None:
    """They scale a wait, which must never get longer."""
    assert all(0.0 <= fair_dice() < 1.0 for _ in range(100))


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (timedelta(0), 0.0),
        (timedelta(milliseconds=1), 0.001),
        (timedelta(days=1), 86_400.0),
        (FOREVER, inf),
        (FOREVER - timedelta(microseconds=1), pytest.approx(8.64e13)),
    ],
    ids=["zero", "millisecond", "day", "forever", "nearly-forever"],
)
def test_a_duration_is_seconds_inside(duration: timedelta, seconds: float) -> None:
    """Only FOREVER has no end."""
    assert seconds_of(duration, option="lease") == seconds


@pytest.mark.parametrize("duration", [30, 1.5, "1 s", None], ids=repr)
def test_a_bare_number_is_no_duration(duration: object) -> None:
    """Thirty what? The message names the option."""
    with pytest.raises(InvalidOption, match=r"lease: .* is no duration\. Use a timedelta"):
        seconds_of(duration, option="lease")


def test_a_negative_duration_is_refused() -> None:
    """Nothing can be older than not at all."""
    with pytest.raises(InvalidOption, match=r"lease: .* is negative"):
        seconds_of(-timedelta(seconds=1), option="lease")
