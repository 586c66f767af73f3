"""Words of the page: amounts with their units, and cells."""

import statistics
from collections.abc import Sequence

from benchmarks.rows.results import spread

_STEPS_OF_NS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))
_NAME_OF_STORE = {"memory": "in memory", "files": "in files", "redis": "in Redis"}


def short(number: float) -> str:
    """Three digits, no exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def amount(number: float, unit: str) -> str:
    """A number with its unit."""
    if unit == "ns":
        return _time(number)
    if unit == "ms":
        return _time(number * 1e6)
    return f"{number:,.0f}" if unit == "/s" else f"{number:,.0f} {unit}"


def measured(rounds: Sequence[float], unit: str) -> str:
    """The median, and the spread after it."""
    low, high = spread(rounds)
    whole = amount(statistics.median(rounds), unit)
    if len(rounds) == 1 or low == high:
        return whole
    return f"{whole} ({amount(low, unit)} to {amount(high, unit)})"


def ratio(ratios: Sequence[float]) -> str:
    """The median of ratios within a round."""
    return f"{short(statistics.median(ratios))} x"


def ratio_and_spread(ratios: Sequence[float]) -> str:
    """The same, with how far its rounds are apart."""
    low, high = spread(ratios)
    return f"{ratio(ratios)} ({short(low)} to {short(high)})"


def store_name(store: str) -> str:
    """Where the values are."""
    return _NAME_OF_STORE[store]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _time(ns: float) -> str:
    for step, unit in _STEPS_OF_NS:
        if ns >= step:
            return f"{short(ns / step)} {unit}"
    return f"{ns:.0f} ns"
