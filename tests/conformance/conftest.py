"""The fixtures of `tests.cache.fixtures`, and those of the pytest plugin, about the same cache."""

import pytest

from everfresh import Cache
from tests.cache.fixtures import by_hand, cache, clock, colour, gate, open_cache, sqlite_url, upstream, url

__all__ = ["by_hand", "cache", "clock", "colour", "gate", "open_cache", "sqlite_url", "upstream", "url"]


@pytest.fixture
def everfresh_cache(cache: Cache) -> Cache:
    """The cache that `drain` and `assert_touches` are about."""
    return cache
