"""Six writers of one dependency: with Everfresh each of them reads what it wrote."""

from collections.abc import Callable
from typing import Any

import pytest

Raced = Callable[[str, str], dict[str, Any]]
pytestmark = pytest.mark.uncounted


@pytest.mark.parametrize("module", ["everfresh_memory", "everfresh_sqlite", "everfresh_redis_async"])
def test_no_writing_is_lost(module: str, raced: Raced) -> None:
    """Whoever invalidated reads what is no older, and nothing old stays."""
    cells = raced("writers", module)

    assert {row: cell["verdict"] for row, cell in cells.items()} == {"lost": "held", "left": "held"}


def test_a_cache_that_drops_nothing_loses_writings(raced: Raced) -> None:
    """Both rows fail for it."""
    cells = raced("writers", "naive_deaf")

    assert {row: cell["verdict"] for row, cell in cells.items()} == {"lost": "failed", "left": "failed"}
