from datetime import timedelta
from math import inf
from typing import Any

import pytest

from everfresh import FOREVER, dep
from everfresh.cache.options import FunctionOptions, Options, error_types, options_of, policy_of, texts_of
from everfresh.model.entry import OnChange, Terms
from everfresh.model.errors import InvalidOption
from everfresh.protocol.requests import Bounds, Limit, Policy


def policy(**options: Any) -> Policy:  # noqa: ANN401 - options of any type
    """What becomes of options."""
    return policy_of(Options(**options), lease_s=10.0, wait_timeout_s=60.0)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_what_can_be_given_is_what_there_is() -> None:
    """The types of the decorator name every option, and no other."""
    assert list(FunctionOptions.__annotations__) == list(Options.__dataclass_fields__)


def test_nothing_said_is_plain() -> None:
    """No lifetime, no limit, nothing old is served."""
    assert policy() == Policy(lease_s=10.0, wait_timeout_s=60.0, max_attempts=8)


def test_each_option_finds_its_place() -> None:
    """Durations in seconds."""
    found = policy(
        stale_while_revalidate=FOREVER,
        stale_if_error=seconds(3),
        on_change="drop",
        expires=4,
        keep_warm=seconds(5),
        settle=(seconds(1), seconds(6)),
        settled=lambda event, value: True,
        debounce=seconds(7),
        max_wait=seconds(8),
        priority=-9,
        job_expires=seconds(10),
        concurrency=11,
        rate=12,
        max_attempts=13,
        wait_timeout=seconds(14),
    )

    assert found == Policy(
        bounds=Bounds(stale_while_revalidate_s=inf, stale_if_error_s=3.0),
        terms=Terms(
            on_change=OnChange.DROP,
            expires_s=4.0,
            keep_warm_s=5.0,
            settle_s=(1.0, 6.0),
            keeps_event=True,
            debounce_s=7.0,
            max_wait_s=8.0,
            priority=-9,
            job_expires_s=10.0,
            linger_s=inf,
        ),
        limit=Limit(11, 12.0),
        lease_s=10.0,
        wait_timeout_s=14.0,
        max_attempts=13,
    )


@pytest.mark.parametrize("option", ["expires", "keep_warm", "job_expires"])
def test_for_ever_is_no_limit(option: str) -> None:
    """As None is."""
    assert policy(**{option: FOREVER}) == policy(**{option: None}) == policy()


def test_a_longest_wait_for_ever_is_none() -> None:
    """Further events put the refresh off again and again, as somebody said."""
    assert policy(debounce=seconds(1), max_wait=FOREVER).terms == Terms(debounce_s=1.0)


def test_a_longest_wait_that_is_not_said_is_ten_times_the_shortest() -> None:
    """A steady stream of events must not put the refresh off for ever."""
    assert policy(debounce=seconds(1)).terms == Terms(debounce_s=1.0, max_wait_s=10.0)
    assert policy().terms.max_wait_s is None


def test_a_longest_wait_may_be_as_long_as_the_shortest() -> None:
    """Then further events put nothing off."""
    assert policy(debounce=seconds(1), max_wait=seconds(1)).terms == Terms(debounce_s=1.0, max_wait_s=1.0)


def test_delays_without_a_judge_keep_no_event() -> None:
    """Nobody asks for it."""
    assert policy(settle=[seconds(2)]).terms == Terms(settle_s=(2.0,))


def test_options_are_kept_as_they_were_given() -> None:
    """They are checked where they are used."""
    given: dict[str, Any] = {"version": 3, "depends_on": [dep.Tag("a")]}

    assert options_of(given, what="cached") == Options(version=3, depends_on=[dep.Tag("a")])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"on_change": "forget"}, "on_change: 'forget' is unknown"),
        ({"expires": 0}, "expires: 0 leaves no time"),
        ({"expires": seconds(0)}, "expires: .* leaves no time"),
        ({"keep_warm": seconds(0)}, "keep_warm: zero leaves no time"),
        ({"job_expires": seconds(0)}, "job_expires: zero leaves no time"),
        ({"settle": seconds(2)}, "settle: .* is no tuple"),
        ({"settle": (2,)}, "settle: .* is no tuple"),
        ({"settle": (seconds(2), seconds(1))}, "each longer than the one before"),
        ({"settled": 7, "settle": (seconds(2),)}, "settled: 7 is no function"),
        ({"settled": lambda event, value: True}, "settled: without settle"),
        ({"debounce": FOREVER}, "debounce: FOREVER would never refresh"),
        ({"max_wait": seconds(2)}, "max_wait: without debounce"),
        ({"debounce": seconds(2), "max_wait": seconds(1)}, "max_wait: 1 s is shorter than debounce, 2 s"),
        ({"priority": 1.5}, "priority: 1.5 is no level"),
        ({"concurrency": 0}, "concurrency: 0"),
        ({"rate": 0}, "rate: 0 cannot be used"),
        ({"max_attempts": 0}, "max_attempts: 0"),
        ({"wait_timeout": 5}, "wait_timeout: 5 is no duration"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_cannot_hold_is_refused(options: dict[str, Any], problem: str) -> None:
    """By the option's name, with what to give instead."""
    with pytest.raises(InvalidOption, match=problem):
        policy(**options)


def test_errors_are_a_tuple_of_types() -> None:
    """Of errors that a function raises, not of those that end a program."""
    assert error_types([KeyError, OSError], "f@1") == (KeyError, OSError)
    for wrong in (KeyError, (KeyboardInterrupt,), ("KeyError",), 7):
        with pytest.raises(InvalidOption, match="f@1: cache_errors"):
            error_types(wrong, "f@1")


def test_several_texts_are_not_one() -> None:
    """It would be read as its letters."""
    assert texts_of(["a", "b"], option="topics", name="f@1") == ("a", "b")
    for wrong in ("ab", 7, (7,)):
        with pytest.raises(InvalidOption, match="f@1: topics"):
            texts_of(wrong, option="topics", name="f@1")


def test_an_option_that_there_is_not_is_refused() -> None:
    """As Python refuses a keyword."""
    with pytest.raises(TypeError, match="cached: there is no option 'ttl'"):
        options_of({"ttl": 30}, what="cached")
