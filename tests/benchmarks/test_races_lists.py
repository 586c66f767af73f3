"""Lists that items enter and leave: Everfresh has all of them right, and builds none in vain."""

from collections.abc import Callable
from typing import Any

import pytest

Raced = Callable[[str, str], dict[str, Any]]
pytestmark = pytest.mark.uncounted
KINDS = ("entering", "leaving", "moving")


@pytest.mark.parametrize("module", ["everfresh_memory", "everfresh_sqlite_async", "everfresh_redis"])
def test_all_lists_are_right_and_no_other_is_built(module: str, raced: Raced) -> None:
    """What a change does not touch is served as it was."""
    cells = raced("lists", module)

    assert [cells[kind]["verdict"] for kind in KINDS] == ["held"] * len(KINDS)
    assert cells["needless"]["n_bad"] == 0


def test_lists_by_hand_are_right_where_their_tags_are_dropped(raced: Raced) -> None:
    """Tags of sections find every list, and lists beside them that the change did not touch."""
    cells = raced("lists", "naive")

    assert [cells[kind]["verdict"] for kind in KINDS] == ["held"] * len(KINDS)
    assert cells["needless"]["n_bad"] > 0


def test_a_cache_that_drops_nothing_has_every_kind_of_list_wrong(raced: Raced) -> None:
    """Each kind of change is seen where it is missing."""
    cells = raced("lists", "naive_deaf")

    assert [cells[kind]["verdict"] for kind in KINDS] == ["failed"] * len(KINDS)
