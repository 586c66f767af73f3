"""Plots of the page, from the results."""

import statistics

from benchmarks.rows.drawing import Bar, bars, lines
from benchmarks.rows.results import Results, spread
from benchmarks.rows.table import work_of
from benchmarks.rows.words import amount

_TIMES = {10.0**power: text for power, text in enumerate(
    ("1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s")
)}  # fmt: skip
_RATES = {10.0**power: f"{10**power:,}/s" for power in range(8)}


def plots(results: Results) -> dict[str, str]:
    """Each plot by the name of its file."""
    drawn = {
        "bench-hits.svg": _bars(
            results, "hits", "small", "A hit of a short text (green: ours, blue: drop by tag or event)"
        ),
        "bench-invalidation.svg": _bars(
            results,
            "invalidation",
            "100 entries, and read again",
            "A tag of 100 entries invalidated, and all read again",
        ),
        "bench-readers.svg": _bars(
            results, "readers", "calls/s", "Calls a second of 40 readers beside one mutator; no text: none was stale"
        ),
        "bench-triage.svg": _triage(results),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def _bars(results: Results, work: str, figure: str, title: str) -> str:
    unit = work_of(work).unit
    found: list[Bar] = []
    for module, cells in results.works.get(work, {}).items():
        rounds = cells.figures.get(figure)
        if not rounds:
            continue
        column = results.columns[module]
        kind = "ours" if column.is_ours else "hears" if column.hears else "other"
        stale = max(cells.figures.get("stale calls", [0.0]))
        text = amount(statistics.median(rounds), unit) + (f", {stale:,.0f} stale" if stale else "")
        found.append(Bar(column.name, kind, statistics.median(rounds), *spread(rounds), text))
    return bars(title, found, _RATES if unit == "/s" else _TIMES) if found else ""


def _triage(results: Results) -> str:
    cells = results.works.get("triage", {}).get("everfresh_memory")
    if cells is None or not cells.figures:
        return ""
    sizes = {figure: float(figure.split()[0].replace(",", "")) for figure in cells.figures}
    series = {
        "an event, all that it does": [(n, statistics.median(cells.figures[name]) / 1e3) for name, n in sizes.items()],
        "a loop over predicates": [(n, statistics.median(cells.limits[name]) / 1e3) for name, n in sizes.items()],
    }
    kinds = {"an event, all that it does": "ours", "a loop over predicates": "limit"}
    return lines("An event that touches one entry, by the number of entries", series, kinds, "µs")
