"""What the processes run that are killed: files with the truth, and cached functions over them.

The truth is a file with a number for each article, which only grows. Whoever owns an article writes the truth,
publishes the event, and only then notes the number as told: no reader may be served less from then on.
"""

import os
from pathlib import Path

from everfresh import Cache, Event, dep, track

N_PROCESSES = 8
N_ARTICLES = 16


class Newsroom:
    """Articles and their sum, cached over the files that hold the truth."""

    def __init__(self, cache: Cache, folder: Path) -> None:
        self._cache = cache
        self._folder = folder

        @cache.cached
        def article(number: int) -> int:
            track(dep.Id("article", number))
            return self.number_in("truth", number)

        @cache.cached
        def total() -> int:
            return sum(article(number) for number in range(N_ARTICLES))

        @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))], on_change="drop")
        def dropped(number: int) -> int:
            return self.number_in("truth", number)

        self.article, self.total, self.dropped = article, total, dropped

    def number_in(self, kind: str, number: int) -> int:
        """What the file says; 0 when there is none yet."""
        try:
            return int((self._folder / f"{kind}-{number}").read_text())
        except FileNotFoundError:
            return 0

    def write(self, kind: str, number: int, value: int) -> None:
        """Replace the file, whole or not at all."""
        target = self._folder / f"{kind}-{number}"
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(str(value))
        draft.replace(target)

    def tell(self, number: int) -> None:
        """Publish that the article changed, and note that it was told."""
        value = self.number_in("truth", number)
        self._cache.blocking.publish(Event.change("article", before={"id": number}, after={"id": number}))
        self.write("told", number, value)

    def tell_the_rest(self, numbers: range) -> None:
        """Publish again what may not have been told."""
        for number in numbers:
            if self.number_in("truth", number) != self.number_in("told", number):
                self.tell(number)

    def check(self, number: int) -> None:
        """Read all that hangs on the article; whatever is too old is noted."""
        told = self.number_in("told", number)
        for function in (self.article, self.dropped):
            found = function(number)
            if found < told:
                self._accuse(f"{function.name}({number}): {found} after {told} was told")
        least = sum(self.number_in("told", one) for one in range(N_ARTICLES))
        found = self.total()
        if found < least:
            self._accuse(f"total(): {found} after {least} was told")

    def _accuse(self, text: str) -> None:
        with (self._folder / "stale").open("a") as file:
            file.write(f"{text}\n")
