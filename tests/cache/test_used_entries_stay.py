"""A cache with room for few entries keeps those that are used, also when readers do without the store."""

import pytest

from everfresh import Cache


@pytest.mark.parametrize("near", [0, 1_000], ids=["far", "near"])
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_what_is_read_all_the_time_stays(store: str, near: int, sqlite_url: str) -> None:
    """However many others come and go: it is built once."""
    with Cache("memory:" if store == "memory" else sqlite_url, near=near, max_entries=10) as cache:
        built: list[str] = []

        @cache.cached
        def hot() -> int:
            built.append("hot")
            return 1

        @cache.cached
        def once(number: int) -> int:
            return number

        for number in range(200):
            hot()
            once(number)
            hot()

        assert built == ["hot"]
        assert once.peek(0) is None
