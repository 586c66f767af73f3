"""Stampedes with a second's body: Everfresh builds once, a naive cache as often as it is asked."""

from collections.abc import Callable
from typing import Any

import pytest

Raced = Callable[[str, str], dict[str, Any]]
pytestmark = pytest.mark.uncounted


@pytest.mark.parametrize("module", ["everfresh_sqlite", "everfresh_redis_async"])
def test_processes_that_share_a_store_build_once(module: str, raced: Raced) -> None:
    """Of ten readers in two processes one builds, also after the builder was killed."""
    cells = raced("stampede", module)

    assert {row: (cell["verdict"], cell["n_runs"]) for row, cell in cells.items()} == {
        "one": ("held", 1),
        "three": ("held", 1),
        "killed": ("held", 1),
    }


def test_each_process_builds_once_where_nothing_is_shared(raced: Raced) -> None:
    """In memory two processes build twice, each once for its five readers."""
    cells = raced("stampede", "everfresh_memory")

    assert {row: (cell["verdict"], cell["n_runs"]) for row, cell in cells.items()} == {
        "one": ("held", 2),
        "three": ("held", 2),
        "killed": ("held", 2),
    }


def test_a_naive_cache_builds_again_and_again(raced: Raced) -> None:
    """Without a lock more than one of the readers builds, in each row."""
    cells = raced("stampede", "naive")

    assert {row: cell["verdict"] for row, cell in cells.items()} == dict.fromkeys(cells, "failed")
