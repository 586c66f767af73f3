"""What the processes of the storm run: files with the truth, cached functions over them, and who does what.

The truth is a file with a number for each article, which only grows. Whoever owns an article writes the truth,
publishes the event, and only when that has returned notes number and position as told: no strict reader may be served
less from then on. What was written and not told is told by whoever comes next, as a source gives a message again that
nobody has acknowledged; what was told is not told again, so an event that was lost would leave its entries stale.
"""

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from everfresh import Cache, Event, Position, dep, track
from everfresh.model.errors import StoreUnavailable, WaitTimeout
from everfresh.refresh import Worker

N_WRITERS = N_READERS = N_WORKERS = 4
N_ARTICLES = 16
N_ON_PAGE = 4
NEAR = 100


class Press:
    """Articles, pages and their sum, cached over the files that hold the truth."""

    def __init__(self, url: str, folder: Path, *, near: int = 0) -> None:
        self.cache = cache = Cache(url, lease=timedelta(seconds=1), near=near)
        self.near = near
        self._folder = folder
        depends_on = [dep.Id("article", dep.arg("number"))]

        @cache.cached(key="article:{number}")
        def article(number: int) -> int:
            track(dep.Id("article", number))
            return self.truth(number)

        @cache.cached(key="total")
        def total() -> int:
            return sum(article(number) for number in range(N_ARTICLES))

        @cache.cached(key="dropped:{number}", depends_on=depends_on, on_change="drop")
        def dropped(number: int) -> int:
            return self.truth(number)

        @cache.cached(key="later:{number}", depends_on=depends_on)
        async def later(number: int) -> int:
            return self.truth(number)

        @cache.cached(key="page:{first}")
        async def page(first: int) -> int:
            return sum([await later(number) for number in on_page(first)])

        self.article, self.total, self.dropped, self.later, self.page = article, total, dropped, later, page

    def truth(self, number: int) -> int:
        """What is true of the article now."""
        return int(self._words("truth", number)[0])

    def told(self, number: int) -> tuple[int, Position | None]:
        """What was told of it last, and at which position."""
        value, *position = self._words("told", number)
        return int(value), Position.parse(position[0]) if position else None

    def change(self, number: int) -> None:
        """Change the truth, and tell of it."""
        self.write("truth", number, self.truth(number) + 1)
        self.tell(number)

    def tell(self, number: int) -> None:
        """Publish that the article changed until that is taken, and note that it was told."""
        while True:
            value = self.truth(number)
            try:
                position = self.cache.blocking.publish(
                    Event.change("article", before={"id": number}, after={"id": number})
                )
            except StoreUnavailable:
                continue
            self.write("told", number, value, position.text)
            return

    def tell_the_rest(self, numbers: range) -> None:
        """Publish again what may not have been told."""
        for number in numbers:
            if self.truth(number) != self.told(number)[0]:
                self.tell(number)

    def check(self, name: str, *, found: int, least: int) -> None:
        """Note what is older than it may be."""
        if found < least:
            with (self._folder / "stale").open("a") as file:
                file.write(f"{name}: {found} after {least} was told\n")

    def write(self, kind: str, number: int, *words: object) -> None:
        """Replace the file, whole or not at all."""
        target = self._folder / f"{kind}-{number}"
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(" ".join(map(str, words)))
        draft.replace(target)

    def _words(self, kind: str, number: int) -> list[str]:
        try:
            return (self._folder / f"{kind}-{number}").read_text().split()
        except FileNotFoundError:
            return ["0"]


def on_page(first: int) -> range:
    """The articles of the page."""
    return range(first, first + N_ON_PAGE)


def work(press: Press, number: int) -> None:
    """Refresh what is due."""

    async def refresh() -> None:
        async with Worker(press.cache) as worker:
            press.write("at-work", number, 1)
            await worker.supervise()

    asyncio.run(refresh())


def change(press: Press, number: int) -> None:
    """Change one's own articles, one after the other."""
    mine = range(number, N_ARTICLES, N_WRITERS)
    press.tell_the_rest(mine)
    chance = random.Random()  # noqa: S311 - it chooses what to do next
    for n_changes in count(sum(press.told(one)[0] for one in mine) + 1):
        press.change(chance.choice(mine))
        press.write("changes", number, n_changes)


def read(press: Press, number: int) -> None:
    """Read as strictly as there is, blocking."""
    chance = random.Random()  # noqa: S311 - as above
    for n_checks in count(1):
        one = chance.randrange(N_ARTICLES)
        least, position = press.told(one)
        with suppress(WaitTimeout, StoreUnavailable):
            for function in (press.article, press.dropped):
                press.check(function.key(one), found=_strictly(press, function, position)(one), least=least)
            # It waits for all of them, which change all the time.
            if n_checks % N_ON_PAGE == 0:
                least = sum(press.told(each)[0] for each in range(N_ARTICLES))
                position = press.cache.blocking.position()
                press.check("total", found=_strictly(press, press.total, position)(), least=least)
        press.write("checks", number, n_checks)


def read_in_a_loop(press: Press, number: int) -> None:
    """The same for coroutines, some at once."""
    chance = random.Random()  # noqa: S311 - as above

    async def check() -> None:
        one = chance.randrange(N_ARTICLES)
        least, position = press.told(one)
        press.check(f"later:{one}", found=await _strictly(press, press.later, position)(one), least=least)
        first = chance.randrange(0, N_ARTICLES, N_ON_PAGE)
        least = sum(press.told(each)[0] for each in on_page(first))
        position = await press.cache.position()
        press.check(f"page:{first}", found=await _strictly(press, press.page, position)(first), least=least)

    async def check_all() -> None:
        for n_checks in count(1):
            with suppress(WaitTimeout, StoreUnavailable):
                await asyncio.gather(check(), check())
            press.write("checks", number, n_checks)

    asyncio.run(check_all())


def _strictly(press: Press, function: Any, position: Position | None) -> Any:  # noqa: ANN401 - of either colour
    """The function, read so that nothing is too old; what is held near may be a moment late, but not for a position."""
    return function.read(after=position) if press.near and position is not None else function


def main(url: str, folder: str, role: str, number: str) -> None:
    """Play the role until killed."""
    press = Press(url, Path(folder), near=NEAR if role.startswith("read") and int(number) % 2 else 0)
    ROLES[role](press, int(number))


ROLES: dict[str, Callable[[Press, int], None]] = {
    "work": work,
    "change": change,
    "read": read,
    "read-in-a-loop": read_in_a_loop,
}
