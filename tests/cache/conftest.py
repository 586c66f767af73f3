"""The fixtures of `tests.cache.fixtures`, for the tests of this folder."""

from tests.cache.fixtures import (
    by_hand,
    cache,
    clock,
    colour,
    gate,
    open_cache,
    pytest_generate_tests,
    sqlite_url,
    upstream,
    url,
)

__all__ = [
    "by_hand",
    "cache",
    "clock",
    "colour",
    "gate",
    "open_cache",
    "pytest_generate_tests",
    "sqlite_url",
    "upstream",
    "url",
]
