"""A SQLite file that is deleted or replaced while caches have it open."""

from pathlib import Path

from everfresh import Cache, Event, dep, track
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


def test_events_find_what_was_built_in_the_new_file(tmp_path: Path) -> None:
    """Whoever published into the old one knows its shapes, and more of them than the new one has."""
    with Cache(f"sqlite:///{tmp_path / 'cache.db'}") as cache:
        truth = {1: "old"}

        @cache.cached(depends_on=[dep.Id("author", 1), dep.Topic("author.#"), dep.Scope("author", {"age": 7})])
        def author() -> str:
            return "author"

        @cache.cached
        def article(number: int) -> str:
            track(dep.Id("article", number))
            return truth[number]

        author()
        cache.blocking.publish(Event.change("author", before={"id": 1}, after={"id": 1}))
        epoch = cache.blocking.position().epoch
        for file in tmp_path.iterdir():
            file.unlink()
        until(lambda: cache.blocking.position().epoch != epoch, what="the cache begins anew")
        article(1)

        truth[1] = "new"
        cache.blocking.publish(Event.change("article", before={"id": 1}, after={"id": 1}))

        assert article(1) == "new"


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
