"""What is left of expired values: nothing in Everfresh, all in a naive cache."""

from collections.abc import Callable
from typing import Any

import pytest

Raced = Callable[[str, str], dict[str, Any]]
pytestmark = pytest.mark.uncounted


@pytest.mark.parametrize("module", ["everfresh_memory", "everfresh_sqlite", "everfresh_redis_async"])
def test_what_expired_leaves_nothing_and_the_rest_is_found(module: str, raced: Raced) -> None:
    """Neither values nor what led to them stay, and the tag still finds the live ones."""
    cells = raced("growth", module)

    assert {row: cell["verdict"] for row, cell in cells.items()} == {"records": "held", "found": "held"}


def test_a_cache_that_clears_nothing_away_grows(raced: Raced) -> None:
    """Every expired value is counted, and every live one that the tag did not drop."""
    cells = raced("growth", "naive_deaf")

    assert cells["records"]["n_left"] == cells["records"]["n_put"]
    assert {row: cell["verdict"] for row, cell in cells.items()} == {"records": "failed", "found": "failed"}
