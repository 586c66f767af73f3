from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh import InvalidOption
from everfresh.sources.rates import Buckets, Rate

NOW = 1_700_000_000.0


def test_a_burst_is_let_in_and_then_the_rate() -> None:
    """Who sends more is told how long to wait, and then may."""
    buckets = Buckets(Rate(per_second=2, burst=3))

    assert [buckets.wait_s("a", NOW) for _ in range(3)] == [0, 0, 0]
    assert buckets.wait_s("a", NOW) == pytest.approx(0.5)
    assert buckets.wait_s("a", NOW + 0.5) == 0
    assert buckets.wait_s("a", NOW + 0.5) == pytest.approx(0.5)


def test_each_source_has_its_own() -> None:
    """One that floods takes nothing from the others."""
    buckets = Buckets(Rate(per_second=1, burst=1))

    assert [buckets.wait_s(source, NOW) for source in ("a", "a", "b")] == [0, pytest.approx(1), 0]


def test_who_waits_loses_nothing_by_asking() -> None:
    """A refusal costs no request."""
    buckets = Buckets(Rate(per_second=1, burst=1))

    waits = [buckets.wait_s("a", NOW) for _ in range(5)]

    assert waits == [0, *[pytest.approx(1)] * 4]


def test_sources_are_remembered_within_bounds() -> None:
    """However many there are; the ones seen last are kept."""
    buckets = Buckets(Rate(per_second=1, burst=1, n_sources=10))

    for number in range(10_000):
        buckets.wait_s(str(number), NOW)

    assert len(buckets) == 10
    assert buckets.wait_s("9999", NOW) > 0
    assert buckets.wait_s("0", NOW) == 0


def test_a_clock_that_was_put_back_closes_nothing() -> None:
    """At worst the bucket is empty."""
    buckets = Buckets(Rate(per_second=10, burst=10))
    buckets.wait_s("a", NOW)

    assert buckets.wait_s("a", NOW - 86_400) <= 0.11


@pytest.mark.parametrize("option", ["per_second", "burst", "n_sources"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_rate_lets_something_in(option: str, value: int) -> None:
    """Nothing at all is no rate."""
    options: dict[str, Any] = {option: value}

    with pytest.raises(InvalidOption, match=option):
        Rate(**options)


@given(
    st.floats(0.1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 0.5) | st.just(0.0999), min_size=1, max_size=200),
)
def test_no_more_are_let_in_than_the_rate_allows(per_second: float, burst: int, pauses_s: list[float]) -> None:
    """In any stretch of time: a burst, and as many as its seconds allow."""
    buckets = Buckets(Rate(per_second=per_second, burst=burst))
    now = NOW
    let_in: list[float] = []

    for pause_s in pauses_s:
        now += pause_s
        if buckets.wait_s("a", now) == 0:
            let_in.append(now)

    for number, start in enumerate(let_in):
        allowed = burst + (let_in[-1] - start) * per_second
        assert len(let_in) - number <= allowed + 0.01


@given(st.floats(0.1, 1000), st.integers(1, 50), st.floats(0, 0.5))
def test_who_waits_as_long_as_told_is_let_in(per_second: float, burst: int, pause_s: float) -> None:
    """So `retry-after` may be believed."""
    buckets = Buckets(Rate(per_second=per_second, burst=burst))
    for _ in range(burst):
        buckets.wait_s("a", NOW)

    wait_s = buckets.wait_s("a", NOW + pause_s)

    assert wait_s == 0 or buckets.wait_s("a", NOW + pause_s + wait_s) == 0
