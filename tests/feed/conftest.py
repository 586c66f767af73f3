"""The fixtures of `tests.cache.fixtures`, for the tests of this folder."""

from tests.cache.fixtures import cache, clock, colour, gate, open_cache, sqlite_url, upstream, url

__all__ = ["cache", "clock", "colour", "gate", "open_cache", "sqlite_url", "upstream", "url"]
