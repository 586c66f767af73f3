"""The guard for CI: ratios to limits of the same run, beside committed ones."""

import pytest
from benchmarks.rows.guard import Tolerance, best_ratios, regressions, tolerances
from benchmarks.rows.results import Cells, Results
from benchmarks.rows.table import WORKS

TWICE = {"hits": Tolerance(2.0, "for the tests")}


def run(ours: list[float], limits: list[float], *, empty: dict[str, str] | None = None) -> Results:
    figures = {"small": ours} if ours else {}
    return Results(works={"hits": {"everfresh_memory": Cells(figures, {"small": limits} if ours else {}, empty or {})}})


def test_a_ratio_that_became_worse_than_allowed_is_a_regression() -> None:
    """The committed ratio is 10, and twice that is allowed."""
    assert list(regressions(run([100.0], [10.0]), run([100.0], [10.0]), TWICE)) == []
    (complaint,) = regressions(run([210.0], [10.0]), run([100.0], [10.0]), TWICE)

    assert (complaint.work, complaint.module) == ("hits", "everfresh_memory")
    assert complaint.words.startswith("small: 21 x its limit, 10 x before")


def test_a_slower_machine_is_no_regression() -> None:
    """Absolute times are never compared."""
    assert list(regressions(run([1000.0], [100.0]), run([100.0], [10.0]), TWICE)) == []


def test_one_quiet_round_is_enough() -> None:
    """Other work makes rounds slower, of ours and of the limit, and none faster."""
    busy = run([900.0, 100.0, 800.0], [30.0, 90.0, 10.0])

    assert list(regressions(busy, run([100.0], [10.0]), TWICE)) == []


def test_a_ratio_has_to_be_worse_to_the_yardstick_too() -> None:
    """A look-up in a dict stays fast on a busy machine, while all that is longer gets slower."""
    quiet, busy, slower = run([100.0], [10.0]), run([300.0], [10.0]), run([300.0], [10.0])
    for each, yardstick in ((quiet, 50.0), (busy, 150.0), (slower, 50.0)):
        each.works["hits"]["everfresh_memory"].limits["yardstick"] = [yardstick]

    assert list(regressions(busy, quiet, TWICE)) == []
    assert len(list(regressions(slower, quiet, TWICE))) == 1


def test_of_a_rate_the_highest_round_counts() -> None:
    """Ours does a quarter of the limit's calls in its best round."""
    cells = Cells({"calls/s": [10.0, 100.0]}, {"calls/s": [400.0, 200.0]})

    assert best_ratios(cells, "calls/s", "/s") == (4.0,)


def test_a_figure_that_is_gone_is_a_regression() -> None:
    """What fails to run is not faster."""
    (complaint,) = regressions(run([], [], empty={"small": "failed"}), run([100.0], [10.0]), TWICE)

    assert complaint.words == "small: was measured once, and now failed"


def test_a_figure_of_its_own_may_have_a_tolerance() -> None:
    """It goes before that of its row."""
    allowed = {**TWICE, "hits, small": Tolerance(5.0, "for the tests")}

    assert list(regressions(run([400.0], [10.0]), run([100.0], [10.0]), allowed)) == []


@pytest.mark.parametrize("name", [work.name for work in WORKS])
def test_each_row_has_a_tolerance_with_its_reason(name: str) -> None:
    """A number that nobody explains is changed whenever it is in the way."""
    found = tolerances()[name]

    assert found.factor > 1
    assert found.why
