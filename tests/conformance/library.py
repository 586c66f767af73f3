"""Books, the lists that they stand in, and the two ways in which a change of one is told."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from everfresh import Cache, Event, dep


@dataclass(frozen=True)
class Book:
    """A row."""

    id: int
    category: str
    published: bool = True
    title: str = "untitled"


def described() -> dep.Scopes:
    """Lists of books by category and by whether they are published."""
    scopes = dep.Scopes("book")

    @scopes.describes("category", "published")
    def listed(book: Book) -> Mapping[str, object]:
        return {"category": book.category, "published": book.published}

    return scopes


Told = Callable[[Book | None, Book | None], None]


def by_rows(cache: Cache) -> Told:
    """A change is told by the images of the row."""

    def tell(before: Book | None, after: Book | None) -> None:
        images: dict[str, Any] = {"before": before and asdict(before), "after": after and asdict(after)}
        cache.blocking.publish(Event.change("book", **images))

    return tell


def by_descriptions(cache: Cache) -> Told:
    """A change is told by the object itself."""
    scopes = described()

    def tell(before: Book | None, after: Book | None) -> None:
        book = after or before
        assert book is not None
        if before is None or after is None:
            scopes.invalidate_for(book, cache.blocking)
        else:
            old, new = asdict(before), asdict(after)
            modified = {name for name in new if new[name] != old[name]}
            scopes.invalidate_for(after, cache.blocking, modified=modified, previous=before)

    return tell


WAYS = {"rows": by_rows, "descriptions": by_descriptions}


class Lists:
    """Lists that were put into the cache, by name."""

    def __init__(self, cache: Cache, **lists: dep.Dependency | tuple[dep.Dependency, ...]) -> None:
        self._cache = cache
        self._lists = lists

    def put(self) -> None:
        """Put all of them, empty or not is no matter."""
        for name, given in self._lists.items():
            self._cache.blocking.put(name, [], *(given if isinstance(given, tuple) else (given,)))

    def dropped_by(self, tell: Callable[[], object]) -> set[str]:
        """Which of the lists go when it is told."""
        self.put()
        tell()
        return {name for name in self._lists if not self._cache.blocking.has(name)}
