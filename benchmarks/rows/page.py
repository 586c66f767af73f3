"""The page on benchmarks and its plots, made from the committed results: `python -m benchmarks.rows.page`."""

import statistics
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows.plots import plots
from benchmarks.rows.results import Cells, Column, Results, read, spread
from benchmarks.rows.table import WORKS, Work
from benchmarks.rows.words import amount, measured, ratio, ratio_and_spread, short, store_name, table

DOCS = Path(__file__).parents[2] / "docs"
_SHORTFALLS = Path(__file__).with_name("shortfalls.toml")
_BEHIND = Path(__file__).with_name("behind.toml")
_WHY = (
    "Why we are behind. A cold call, a put, a get and an import were profiled; of the others it says what they do "
    "besides:"
)
_STORES = ("memory", "files", "redis")
_OTHER_JOB = ("lru_cache", "cachetools_memory", "cachebox_memory", "theine_memory")

_HEAD = """\
# Benchmarks

<!-- Made by `python -m benchmarks.rows.page` from results/bench.json; `make bench` measures anew. -->

Everfresh and its peers in one run on one machine, each through its documented API. [Performance](performance.md) says
where our own time goes.

```console
make bench                # installs the peers, measures all, writes this page and its plots: twenty minutes
make bench ARGS=rows      # the tables of this page alone, to the terminal: ten minutes
make bench ARGS=--quick   # our own columns beside the committed ratios, for CI: a minute, and no peer is installed
```

**How it is measured.** Each round of each column is a fresh process; columns take turns (A B A B), so a busy moment
falls on all of them. Within a process loops are calibrated, and the limit takes turns with what is measured. A cell
shows the median of the rounds, in parentheses where the middle half of them lies (of three or fewer: all), and how many
times its limit it takes, as the median of the ratios within each round. The ratio is what to look at: it means the same
on another machine, times do not.

**What is compared.** A library in an event loop stands beside ours in an event loop, one in Redis beside ours in Redis.
Here nobody waits for others: hits of cashews and cacheops are without the lock that has a value computed once, and we
publish without `acknowledged=True`, which waits until each process has heard of it. Under [races](races.md) all are
used with what they have against stale values. An empty cell says why. A figure of a library that does not promise
something is no fault of it: [what each promises](#fairness) is below.
"""

_LRU = """\
A dictionary that forgets is another job: nobody tells it that something changed, so it has nothing to look up but the
key. It counts no version, keeps no index from tags to keys and nothing on a build that is under way while somebody
invalidates, and hands its one object to everybody. It serves the old value until its time is over or until the very
process that knows drops the very key. Where that is enough, take it: these figures are what it saves.
"""


def main() -> None:
    """Write the page and its plots."""
    results = read()
    (DOCS / "benchmarks.md").write_text(page(results))
    for name, svg in plots(results).items():
        (DOCS / "images" / name).write_text(svg)


def page(results: Results) -> str:
    """The whole page."""
    parts = [_HEAD, "## Beside those who hear of changes", _leads(results), "## Where a plain LRU is faster", _LRU]
    parts += [_lru(results), *_works(results), "## From an event to the browser", _browser(results)]
    parts += ["## Bars", _bars(results), "## Fairness", *_fairness(results)]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


# --------------------------------------------------------------------------------------------------- who leads


def _leads(results: Results) -> str:
    lines = [line for work in WORKS if work.is_of_peers for line in _leads_of(results, work)]
    n_behind = sum("behind" in line[-1] for line in lines)
    words = (
        "The nearest of all peers that drop values by event or tag, in each row: above 1 x we lead. *Even* is where "
        "1 lies within the spread of its rounds. In rows of mutable values those are not compared who hand out the "
        "very object that is kept (†): that is one look-up, and whoever changes what he got changes it for all others. "
        f"Of {len(lines)} rows we are behind in {n_behind}."
    )
    head = ("row", "where", "ours", "the nearest", "takes", "that is, beside ours", "")
    parts = [words, table(head, lines)]
    behind = [line[0] for line in lines if "behind" in line[-1]]
    reasons: dict[str, str] = tomllib.loads(_BEHIND.read_text())
    told = [(row, why) for row, why in reasons.items() if any(name.startswith(row) for name in behind)]
    unknown = [(name, "not known yet") for name in behind if not name.startswith(tuple(reasons))]
    if behind:
        parts += [
            _WHY,
            table(("row", "why"), [*told, *dict(unknown).items()]),
        ]
    return "\n\n".join(parts)


def _leads_of(results: Results, work: Work) -> Iterator[Sequence[str]]:
    for figure in work.compared:
        for store in _STORES:
            found = [
                (statistics.median(ratios), module, ratios)
                for module, cells in results.works.get(work.name, {}).items()
                if _competes(results, module, store, figure) and figure in cells.figures
                and (ratios := results.beside_ours(work.name, module, figure))
            ]  # fmt: skip
            if not found:
                continue
            _, module, ratios = min(found)
            column = results.columns[module]
            ours = next(
                name for name, other in results.columns.items()
                if other.is_ours and (other.store, other.is_async) == (store, column.is_async)
            )  # fmt: skip
            cells_of = results.works[work.name]
            amounts = [amount(statistics.median(cells_of[name].figures[figure]), work.unit) for name in (ours, module)]
            name = f"{work.title.lower()}: {figure}"
            yield (
                name,
                store_name(store),
                amounts[0],
                column.name,
                amounts[1],
                ratio_and_spread(ratios),
                _verdict(ratios),
            )


def _competes(results: Results, module: str, store: str, figure: str) -> bool:
    column = results.columns[module]
    # To hand out the object that is kept is not to hand out a value that nobody else can change.
    is_same_job = column.hears and not ("mutable" in figure and column.shares)
    return is_same_job and not column.is_ours and column.store == store


def _verdict(ratios: Sequence[float]) -> str:
    low, high = spread(ratios)
    if low <= 1 <= high:
        return "even"
    return "we lead" if low > 1 else "**behind**"


def _lru(results: Results) -> str:
    lines: list[Sequence[str]] = []
    for work, figure in (
        ("hits", "small"),
        ("hits", "small, mutable"),
        ("hits", "1 MiB, mutable"),
        ("writes", "a cold call"),
        ("writes", "invalidated and called again"),
        ("memory", "with 0 tags"),
    ):
        of_work = results.works.get(work, {})
        cells = [_times(results, work, module, figure) for module in _OTHER_JOB]
        ours = of_work.get("everfresh_memory", Cells()).figures.get(figure)
        if ours:
            unit = next(each.unit for each in WORKS if each.name == work)
            lines.append((figure, amount(statistics.median(ours), unit), *cells))
    names = [results.columns[module].name for module in _OTHER_JOB if module in results.columns]
    words = "What each takes, as a part of ours: below 1 x it is faster."
    return f"{words}\n\n{table(('in memory', 'ours', *names), lines)}" if lines else ""


def _times(results: Results, work: str, module: str, figure: str) -> str:
    if figure not in results.works.get(work, {}).get(module, Cells()).figures:
        return ""
    ratios = results.beside_ours(work, module, figure)
    return f"{short(statistics.median(ratios))} x" if ratios else ""


# -------------------------------------------------------------------------------------------------- the tables


def _works(results: Results) -> Iterator[str]:
    pictures = {name.removeprefix("bench-").removesuffix(".svg"): name for name in plots(results)}
    for work in WORKS:
        if work.name not in results.works:
            continue
        yield f"## {work.title}"
        yield work.words
        if work.name in pictures:
            yield f"![{work.title}](images/{pictures[work.name]})"
        for store in work.stores:
            lines = list(_lines(results, work, store))
            if lines:
                yield f"{store_name(store).capitalize()}; the limit is {work.limits[store]}."
                figures = _figures(results, work, store)
                yield table(("", *figures), lines)
        yield _reasons(results, work)


def _figures(results: Results, work: Work, store: str) -> list[str]:
    """Those that anybody has."""
    of_store = [cells for module, cells in results.works[work.name].items() if results.columns[module].store == store]
    return [figure for figure in work.figures if any(figure in cells.figures for cells in of_store)]


def _lines(results: Results, work: Work, store: str) -> Iterator[Sequence[str]]:
    figures = _figures(results, work, store)
    for module, cells in results.works[work.name].items():
        column = results.columns[module]
        if column.store != store or not any(figure in cells.figures for figure in figures):
            continue
        name = f"**{column.name}**" if column.is_ours else column.name
        mark = " †" if work.name == "hits" and column.shares else ""
        yield f"{name}{mark}", *(_cell(results, work, module, figure) for figure in figures)


def _cell(results: Results, work: Work, module: str, figure: str) -> str:
    cells = results.works[work.name][module]
    if figure not in cells.figures:
        return ""
    text = measured(cells.figures[figure], "" if figure.startswith("stale") else work.unit)
    if figure not in cells.limits:
        return text
    return f"{text}; {ratio(results.ratios(work.name, module, figure))}"


def _reasons(results: Results, work: Work) -> str:
    """Why cells are empty, who shares a reason together."""
    names_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for module, cells in results.works[work.name].items():
        figures_of: dict[str, list[str]] = {}
        for figure, why in cells.empty.items():
            figures_of.setdefault(why, []).append(figure)
        for why, figures in figures_of.items():
            names_of.setdefault((why, tuple(figures)), []).append(results.columns[module].name)
    lines = [
        f"- {'; '.join(sorted(names))}: {why} ({'; '.join(figures)})" for (why, figures), names in names_of.items()
    ]
    return "Empty cells:\n\n" + "\n".join(sorted(lines)) if lines else ""


# ----------------------------------------------------------------------------------------------- bars, fairness


def _browser(results: Results) -> str:
    name = "event to client, "
    lines = [
        (bar["name"].removeprefix(name), f"{short(bar['figure'])} {bar['unit']}", bar["bar"])
        for bar in results.bars
        if bar["name"].startswith(name)
    ]
    words = (
        "From `publish` to the value at the client of a stream, with a build that does nothing between; a hundred "
        "streams are open. No peer takes an event to a browser. nchan carries what somebody else has made: what a "
        "delivery costs beside it stands under [push](explanation/push.md), measured by `make bench-push`."
    )
    return f"{words}\n\n{table(('', 'measured', 'bar'), lines)}" if lines else words


def _bars(results: Results) -> str:
    known: dict[str, dict[str, str]] = tomllib.loads(_SHORTFALLS.read_text())
    missed = [bar for bar in results.bars if not bar["is_held"]]
    parts = ["The benchmarks of our own hold their figures to bars ([performance](performance.md))."]
    if results.bars:
        parts[0] += f" In this run {len(results.bars) - len(missed)} of {len(results.bars)} held."
    if missed:
        parts.append(
            table(("did not hold in this run", "measured", "bar", "why"), [_missed(bar, known) for bar in missed])
        )
    parts.append("What falls short, or does in busy hours, with the measured reason:")
    parts.append(
        table(("bar", "measured", "why"), [(name, told["figure"], told["why"]) for name, told in known.items()])
    )
    parts += [f"Not run: {name}, as {why}." for name, why in results.skipped.items()]
    return "\n\n".join(parts)


def _missed(bar: dict[str, Any], known: dict[str, dict[str, str]]) -> Sequence[str]:
    why = next((told["why"] for name, told in known.items() if bar["name"].startswith(name)), "not known yet")
    return bar["name"], f"{short(bar['figure'])} {bar['unit']}", bar["bar"], why


def _fairness(results: Results) -> Iterator[str]:
    machine = ", ".join(f"{name} {fact}" for name, fact in results.machine.items())
    yield f"The machine: {machine}. It is shared: other work ran beside it."
    head = ("library", "version", "drops values by", "chosen of its options", "does not promise")
    both_colours = {column.name.removesuffix(", async"): column for column in results.columns.values()}
    yield table(head, [_promises(name, column) for name, column in both_colours.items()])


def _promises(name: str, column: Column) -> Sequence[str]:
    return name, column.version, column.invalidates or "time alone", column.options, column.lacks


if __name__ == "__main__":
    main()
