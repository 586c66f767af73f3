"""The demo's client of the tracker."""

import pytest

from everfresh.demo.upstream import Tracker, TrackerRefused


@pytest.mark.parametrize("key", ["../../x", "DES-101/comments?x", "DES-101\0", "", "DES-", "des-101", "DES-101 "])
async def test_a_key_that_is_no_issue_leads_nowhere(key: str) -> None:
    """It comes from a form, and would stand in the path of a request."""
    tracker = Tracker()

    async with tracker.at("http://127.0.0.1:9"):
        with pytest.raises(TrackerRefused, match="no issue"):
            await tracker.change(key, {"priority": "low"}, actor="mira")
