"""What both processes run: a file with the truth, and cached functions over it."""

import json
from pathlib import Path

from everfresh import Cache, Event, dep, track

N_ARTICLES = 3


class Shop:
    """Articles with prices in a file, cached on one SQLite file."""

    def __init__(self, cache: Cache, truth: Path) -> None:
        self._truth = truth

        @cache.cached
        def price(article: int) -> int:
            track(dep.Id("article", article))
            return self.prices()[article]

        @cache.cached
        def total() -> int:
            return sum(price(article) for article in range(N_ARTICLES))

        self.price, self.total = price, total

    def prices(self) -> list[int]:
        """The truth."""
        found: list[int] = json.loads(self._truth.read_text())
        return found

    def change(self, prices: list[int]) -> list[Event]:
        """Change the truth; the events that tell of it."""
        self._truth.write_text(json.dumps(prices))
        return [Event.change("article", before={"id": k}, after={"id": k}) for k in range(N_ARTICLES)]

    def warm(self) -> None:
        """Have every entry stored."""
        self.total()

    def values(self) -> tuple[list[int], int]:
        """What readers are served now."""
        return [self.price(article) for article in range(N_ARTICLES)], self.total()
