"""The options of a cached function: what may be given, and what becomes of it once it is checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal, TypedDict, cast

from everfresh.cache.caching_errors import ErrorTypes
from everfresh.model.clock import seconds_of
from everfresh.model.dependency import Dependency
from everfresh.model.entry import OnChange, Terms
from everfresh.model.errors import InvalidOption
from everfresh.model.event import Event
from everfresh.model.options import whole_number
from everfresh.protocol.requests import Bounds, Limit, OnStoreFailure, Policy

_ZERO = timedelta(0)
# A steady stream of events must not put a refresh off for ever; so many times the shortest wait is the longest.
LONGEST_DEBOUNCE = 10


class FunctionOptions(TypedDict, total=False):
    """What `cache.cached` and `cache.cached_many` take; described there."""

    depends_on: Sequence[Dependency]
    stale_while_revalidate: timedelta
    stale_if_error: timedelta
    on_change: Literal["refresh", "drop"]
    expires: timedelta | float | None
    cache_errors: tuple[type[Exception], ...]
    should_refresh: Callable[..., bool] | None
    topics: Sequence[str]
    keep_warm: timedelta | None
    settle: Sequence[timedelta]
    settled: Callable[[Event, Any], bool] | None
    debounce: timedelta
    max_wait: timedelta | None
    priority: int
    job_expires: timedelta | None
    concurrency: int | None
    rate: float | None
    max_attempts: int
    wait_timeout: timedelta | None
    on_store_failure: Literal["call", "raise"] | None
    version: int
    key: str | None
    ignore: Sequence[str]
    secret: Sequence[str]
    inherit: Sequence[ContextVar[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The same with what holds when nothing is said. Callers without types may have put anything in it."""

    depends_on: Sequence[Dependency] = ()
    stale_while_revalidate: timedelta = _ZERO
    stale_if_error: timedelta = _ZERO
    on_change: str = "refresh"
    expires: timedelta | float | None = None
    cache_errors: tuple[type[Exception], ...] = ()
    should_refresh: Callable[..., bool] | None = None
    topics: Sequence[str] = ()
    keep_warm: timedelta | None = None
    settle: Sequence[timedelta] = ()
    settled: Callable[[Event, Any], bool] | None = None
    debounce: timedelta = _ZERO
    max_wait: timedelta | None = None
    priority: int = 0
    job_expires: timedelta | None = None
    concurrency: int | None = None
    rate: float | None = None
    max_attempts: int = 8
    wait_timeout: timedelta | None = None
    on_store_failure: str | None = None
    version: int = 1
    key: str | None = None
    ignore: Sequence[str] = ()
    secret: Sequence[str] = ()
    inherit: Sequence[ContextVar[Any]] = ()


_NAMES = [field.name for field in fields(Options)]


def options_of(given: Mapping[str, Any], *, what: str) -> Options:
    """The options that were given to the decorator `what`.

    Raises:
        TypeError: there is no such option.
    """
    for name in given:
        if name not in _NAMES:
            raise TypeError(f"{what}: there is no option {name!r}. There are: {', '.join(_NAMES)}.")
    return Options(**given)


def policy_of(
    options: Options, *, lease_s: float, wait_timeout_s: float, on_store_failure: OnStoreFailure = OnStoreFailure.CALL
) -> Policy:
    """What the options say of the function's entries.

    Raises:
        InvalidOption: one of them cannot hold, or says nothing without another; the message names it.
    """
    if options.on_store_failure is not None:
        on_store_failure = on_store_failure_of(options.on_store_failure)
    if options.wait_timeout is not None:
        wait_timeout_s = seconds_of(options.wait_timeout, option="wait_timeout")
    return Policy(
        bounds=Bounds(
            stale_while_revalidate_s=seconds_of(options.stale_while_revalidate, option="stale_while_revalidate"),
            stale_if_error_s=seconds_of(options.stale_if_error, option="stale_if_error"),
        ),
        terms=terms_of(options),
        limit=Limit(_concurrency(options.concurrency), _rate(options.rate)),
        lease_s=lease_s,
        wait_timeout_s=wait_timeout_s,
        on_store_failure=on_store_failure,
        max_attempts=whole_number(options.max_attempts, option="max_attempts", least=1),
    )


def on_store_failure_of(given: object) -> OnStoreFailure:
    """What readers do when the store does not answer.

    Raises:
        InvalidOption: it is none of the two.
    """
    try:
        return OnStoreFailure(given)
    except ValueError as error:
        msg = f"on_store_failure: {given!r} is none. Use 'call' to call the function, or 'raise' for StoreUnavailable."
        raise InvalidOption(msg) from error


def terms_of(options: Options) -> Terms:
    """What each entry of the function keeps with it.

    Raises:
        InvalidOption: as above.
    """
    settle_s = _delays_s(options.settle)
    if options.settled is not None and not callable(options.settled):
        raise InvalidOption(f"settled: {options.settled!r} is no function. Write settled=lambda event, value: ...")
    if options.settled is not None and not settle_s:
        raise InvalidOption("settled: without settle=(...,) nothing is looked at again. Give the delays too.")
    debounce_s = seconds_of(options.debounce, option="debounce")
    if debounce_s == math.inf:
        raise InvalidOption(
            "debounce: FOREVER would never refresh. Use a duration; on_change='drop' refreshes nothing."
        )
    return Terms(
        on_change=_on_change(options.on_change),
        priority=_priority(options.priority),
        expires_s=lifetime_s(options.expires, option="expires"),
        debounce_s=debounce_s,
        max_wait_s=_max_wait_s(options.max_wait, debounce_s),
        settle_s=settle_s,
        keeps_event=options.settled is not None,
        job_expires_s=_time_s(options.job_expires, option="job_expires"),
        keep_warm_s=_time_s(options.keep_warm, option="keep_warm"),
        linger_s=max(
            seconds_of(options.stale_while_revalidate, option="stale_while_revalidate"),
            seconds_of(options.stale_if_error, option="stale_if_error"),
        ),
    )


def lifetime_s(lifetime: object, *, option: str) -> float | None:
    """A timedelta or a number of seconds, in seconds; None for no limit.

    Raises:
        InvalidOption: it is neither, or not more than zero.
    """
    if lifetime is None:
        return None
    is_number = type(lifetime) in (int, float)
    found_s = float(cast("float", lifetime)) if is_number else seconds_of(lifetime, option=option)
    if not found_s > 0:
        msg = f"{option}: {lifetime!r} leaves no time. Use more than zero seconds, or None for no limit."
        raise InvalidOption(msg)
    return None if found_s == math.inf else found_s


def error_types(types: object, name: str) -> ErrorTypes:
    """The types of errors that may be cached.

    Raises:
        InvalidOption: something else is among them.
    """
    found = _tuple(types)
    if found is None or not all(isinstance(one, type) and issubclass(one, Exception) for one in found):
        msg = f"{name}: cache_errors takes a tuple of types of errors, not {types!r}: (NotFound,)."
        raise InvalidOption(msg)
    return cast("ErrorTypes", found)


def texts_of(texts: object, *, option: str, name: str) -> tuple[str, ...]:
    """Several texts.

    Raises:
        InvalidOption: it is one text, or something else.
    """
    found = None if isinstance(texts, str) else _tuple(texts)
    if found is None or not all(isinstance(one, str) for one in found):
        msg = f"{name}: {option} {texts!r} is no tuple of names. Write {option}=({texts!r},), with the comma."
        raise InvalidOption(msg)
    return cast("tuple[str, ...]", found)


def _tuple(values: object) -> tuple[object, ...] | None:
    """The values; None when it cannot be gone through."""
    return tuple(cast("Iterable[object]", values)) if isinstance(values, Iterable) else None


def _time_s(duration: object, *, option: str) -> float | None:
    """A timedelta in seconds; None for no limit, which FOREVER says too."""
    if duration is None:
        return None
    found_s = seconds_of(duration, option=option)
    if found_s == 0:
        raise InvalidOption(f"{option}: zero leaves no time. Use more, or None for no limit.")
    return None if found_s == math.inf else found_s


def _max_wait_s(max_wait: object, debounce_s: float) -> float | None:
    if max_wait is None:
        return debounce_s * LONGEST_DEBOUNCE or None
    found_s = seconds_of(max_wait, option="max_wait")
    if found_s < debounce_s:
        msg = f"max_wait: {found_s:g} s is shorter than debounce, {debounce_s:g} s. Use at least as much."
        raise InvalidOption(msg)
    if not debounce_s:
        raise InvalidOption("max_wait: without debounce nothing waits. Give debounce too.")
    return None if found_s == math.inf else found_s


def _delays_s(delays: object) -> tuple[float, ...]:
    found = _tuple(delays)
    if found is None or not all(isinstance(one, timedelta) for one in found):
        raise InvalidOption(
            f"settle: {delays!r} is no tuple of delays. Write settle=(timedelta(seconds=2),), with the comma."
        )
    found_s = tuple(seconds_of(one, option="settle") for one in found)
    ends = (0.0, *found_s, math.inf)
    if any(later <= earlier for earlier, later in pairwise(ends)):
        raise InvalidOption(
            "settle: the delays count from the event. Give each longer than the one before, and an end."
        )
    return found_s


def _priority(priority: object) -> int:
    if type(priority) is not int:
        raise InvalidOption(f"priority: {priority!r} is no level. Use a whole number; higher ones go first.")
    return priority


def _concurrency(concurrency: object) -> int | None:
    return None if concurrency is None else whole_number(concurrency, option="concurrency", least=1)


def _rate(rate: object) -> float | None:
    if rate is None:
        return None
    if type(rate) not in (int, float) or not 0 < cast("float", rate) < math.inf:
        raise InvalidOption(f"rate: {rate!r} cannot be used. Give refreshes per second, more than zero.")
    return float(cast("float", rate))


def _on_change(word: str) -> OnChange:
    try:
        return OnChange(word)
    except ValueError as error:
        msg = f"on_change: {word!r} is unknown. Use 'refresh' or 'drop'."
        raise InvalidOption(msg) from error
