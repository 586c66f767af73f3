"""The races that `make races` runs with all libraries: here with Everfresh, which has to win, and with naive caches."""

from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.peers.catalogue import OURS, PEERS, peer_of
from benchmarks.races.page import page_of
from benchmarks.races.results import PAGE, SCENARIOS, described, in_words_of_now, load, n_failed, verdict_of

pytestmark = pytest.mark.uncounted

Raced = Callable[[str, str], dict[str, Any]]
OUR_MODULES = [module for peer in OURS for module in peer.modules]
# One that loses each row for sure: whatever such a cache cannot lose shows nothing.
LOSERS = {
    ("stale_set", "naive"): ("function", "function_tag", "manual", "manual_tag", "process"),
    ("stale_set", "naive_joining"): ("late",),
    ("hot_keys", "naive_deaf"): ("here", "processes"),
    ("nested", "naive"): ("stored", "deep", "building"),
    ("per_user", "naive"): ("building",),
    ("per_user", "naive_deaf"): ("copies", "process"),
    ("per_user", "naive_panicking"): ("others",),
}


@pytest.mark.parametrize("module", OUR_MODULES)
@pytest.mark.parametrize("scenario", ["stale_set", "hot_keys", "nested", "per_user"])
def test_everfresh_holds_in_every_cell(scenario: str, module: str, raced: Raced) -> None:
    """Nothing is stale, and nothing goes that need not; a store of one process only does not offer itself to others."""
    cells = raced(scenario, module)

    assert list(cells) == list(described(scenario)["rows"])
    left_out = {row for row, cell in cells.items() if cell["verdict"] == "not offered"}
    assert left_out <= ({"process", "processes"} if "memory" in module else set())
    assert {row: cell for row, cell in cells.items() if row not in left_out and cell["verdict"] != "held"} == {}


@pytest.mark.parametrize(("scenario", "module"), LOSERS)
def test_a_race_can_be_lost(scenario: str, module: str, raced: Raced) -> None:
    """Each row has a naive cache that fails in it every time; else it would prove nothing."""
    cells = raced(scenario, module)

    assert {row: cells[row]["verdict"] for row in LOSERS[scenario, module]} == dict.fromkeys(
        LOSERS[scenario, module], "failed"
    )


def test_each_row_has_a_loser() -> None:
    """A row that is added needs one too."""
    lost = {(scenario, row) for (scenario, _), rows in LOSERS.items() for row in rows}

    assert lost == {(scenario, row) for scenario, _ in LOSERS for row in described(scenario)["rows"]}


def test_the_page_is_what_the_results_say() -> None:
    """Nobody writes into it by hand: python -m benchmarks.races --write."""
    assert PAGE.read_text("utf-8") == page_of(load())


def test_the_results_are_of_all_races_and_all_libraries() -> None:
    """A cell that was left out would be the one to ask for."""
    results = load()

    assert [peer["name"] for peer in results["peers"]] == [peer.name for peer in PEERS]
    assert list(results["cells"]) == list(SCENARIOS)
    for scenario, rows in results["cells"].items():
        assert list(rows) == list(described(scenario)["rows"])
        for cells in rows.values():
            assert {name: len(found) for name, found in cells.items()} == {
                peer.name: len(peer.modules) for peer in PEERS
            }


def test_the_page_says_what_scenarios_and_libraries_say() -> None:
    """They are described by the words that they have now: python -m benchmarks.races --words."""
    results = load()

    assert in_words_of_now(results) == results


def test_of_two_colours_the_worse_counts() -> None:
    """A library that holds in an event loop only does not hold."""
    held, failed, missing = ({"verdict": verdict} for verdict in ("held", "failed", "not offered"))

    assert verdict_of([held, failed]) == "failed"
    assert verdict_of([held, missing]) == "held"
    assert verdict_of([missing, missing]) == "not offered"


def test_our_failures_are_counted() -> None:
    """`make races` fails by them, and by nobody else's."""
    ours, other = OURS[0], peer_of("lru_cache")
    rows = {"row": {ours.name: [{"verdict": "failed"}], other.name: [{"verdict": "failed"}]}}

    assert n_failed({"cells": {"one": rows, "two": rows}}, OURS) == 2
