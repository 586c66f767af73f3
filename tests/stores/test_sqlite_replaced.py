"""A SQLite file that is deleted or replaced while caches have it open."""

from pathlib import Path

from everfresh import Cache, dep
from everfresh.testing.waiting import until


def test_a_file_that_was_deleted_is_noticed_by_those_who_have_it_open(tmp_path: Path) -> None:
    """Else two processes would go on with two files, and one would be stale for ever."""
    truth = {"price": 1}
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    with Cache(url) as ours:

        @ours.cached(depends_on=[dep.Tag("price")])
        def price() -> int:
            return truth["price"]

        assert price() == 1
        for file in tmp_path.iterdir():
            file.unlink()
        truth["price"] = 2
        with Cache(url) as theirs:
            theirs.blocking.invalidate(dep.Tag("price"))

            until(lambda: price() == 2, what="the reader follows the file")


def test_a_file_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    """What was in it is built anew; nobody has to be restarted."""
    truth = {"price": 1}
    path = tmp_path / "cache.db"
    with Cache(f"sqlite:///{path}", near=0) as cache:

        @cache.cached
        def price() -> int:
            return truth["price"]

        price()
        for file in tmp_path.iterdir():
            file.unlink()
        truth["price"] = 2

        until(lambda: price() == 2, what="the cache begins anew")
        assert path.exists()
