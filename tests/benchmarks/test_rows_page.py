"""The page on benchmarks is made from committed data, and from nothing else."""

from pathlib import Path

import pytest
from benchmarks.rows.page import DOCS, page
from benchmarks.rows.plots import plots
from benchmarks.rows.results import PATH, Column, Results, read
from benchmarks.rows.table import WORKS


def column(name: str, *, package: str = "peer", invalidates: str = "tag", shares: bool = False) -> Column:
    return Column(
        name=name,
        package=package,
        version="1",
        store="memory",
        is_async=False,
        options="all as they are",
        lacks="nothing",
        invalidates=invalidates,
        shares=shares,
    )


def results(theirs: list[float]) -> Results:
    made = Results(columns={"everfresh_memory": column("Ours", package="everfresh"), "peer": column("Peer")})
    for ours, other in zip([100.0, 110.0, 120.0], theirs, strict=True):
        made.add("hits", "everfresh_memory", {"figures": {"small": ours}, "limits": {"small": 10.0}, "empty": {}})
        empty = {"by key": "no get"}
        made.add("hits", "peer", {"figures": {"small": other}, "limits": {"small": 10.0}, "empty": empty})
    return made


def test_the_page_is_what_the_committed_results_make() -> None:
    """Nobody writes a figure by hand: `python -m benchmarks.rows.page` gives the very page that is committed."""
    assert (DOCS / "benchmarks.md").read_text("utf-8") == page(read())


@pytest.mark.parametrize("name", sorted(plots(read())))
def test_a_plot_is_what_the_committed_results_make(name: str) -> None:
    """As the page."""
    assert (DOCS / "images" / name).read_text("utf-8") == plots(read())[name]


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    """What is committed holds all that the page needs."""
    made = results([200.0, 220.0, 240.0])

    made.write(tmp_path / "bench.json")

    assert read(tmp_path / "bench.json") == made


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [([200.0, 220.0, 240.0], "we lead"), ([50.0, 55.0, 60.0], "**behind**"), ([90.0, 110.0, 140.0], "even")],
)
def test_the_page_says_who_leads(theirs: list[float], verdict: str) -> None:
    """By the ratios within each round; where they lie on both sides of 1 nobody leads."""
    (line,) = [line for line in page(results(theirs)).splitlines() if line.startswith("| hits: small | in memory ")]

    assert line.endswith(f"| {verdict} |")


def test_where_we_are_behind_the_page_says_why_or_that_nobody_knows() -> None:
    """A row that is lost is a finding, and is not left without a word."""
    assert "| hits: small | not known yet |" in page(results([50.0, 55.0, 60.0]))


def test_a_cell_says_why_it_is_empty() -> None:
    """A figure that is missing is a statement about a library, so it has a reason."""
    assert "- Peer: no get (by key)" in page(results([200.0, 220.0, 240.0]))


def test_a_rate_is_compared_the_other_way_round() -> None:
    """Of calls a second more is better, and above 1 we lead all the same."""
    made = Results(columns={"everfresh_memory": column("Ours", package="everfresh"), "peer": column("Peer")})
    for module, rate in {"everfresh_memory": 300.0, "peer": 100.0}.items():
        made.add("readers", module, {"figures": {"calls/s": rate}, "limits": {"calls/s": 600.0}, "empty": {}})

    assert made.beside_ours("readers", "peer", "calls/s") == [3.0]
    assert made.ratios("readers", "everfresh_memory", "calls/s") == [2.0]


def test_all_rows_are_in_the_committed_results() -> None:
    """A row that is added is measured before it is shown."""
    assert set(read(PATH).works) == {work.name for work in WORKS}
