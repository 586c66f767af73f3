"""The fixtures of `tests.cache.fixtures`, for the tests of this folder."""

import pytest

from tests.cache.fixtures import cache, clock, colour, gate, open_cache, sqlite_url, upstream

__all__ = ["cache", "clock", "colour", "gate", "open_cache", "sqlite_url", "upstream", "url"]


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """Each kind of store; lines are counted on both, as each is followed in a way of its own."""
    return "memory:" if request.param == "memory" else sqlite_url
