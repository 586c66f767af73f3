"""An application over a store in a file, which is away for a while and comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from everfresh import Cache, State, dep
from everfresh.protocol.sourcing import SourceState
from everfresh.sources.consuming import Source
from everfresh.sources.source import Adapter
from everfresh.testing.waiting import soon


class App:
    """A cache with functions of articles, which the source tells of, and of weather, which it does not."""

    def __init__(self, folder: Path) -> None:
        self.cache = Cache(f"sqlite:///{folder}/store.db")

        @self.cache.cached(key="article:{n}", depends_on=[dep.Topic("article.*", where={"id": dep.arg("n")})])
        async def article(n: int) -> int:
            return n

        @self.cache.cached(key="weather", depends_on=[dep.Topic("weather.*")])
        async def weather() -> str:
            return "rain"

        self.article, self.weather = article, weather

    async def read_all(self) -> None:
        """Have all entries fresh."""
        for n in range(3):
            await self.article(n)
        await self.weather()

    async def touched(self) -> set[str]:
        """The entries that are no longer fresh."""
        states = {entry.key: entry.state for entry in await self.cache.entries()}
        return {key for key, state in states.items() if state is not State.FRESH}

    async def state(self) -> SourceState | None:
        """What the store knows of the source."""
        states = (await self.cache.sources.read(["bus"])).states
        return states[0] if states else None

    async def has_offset(self, part: str = "") -> bool:
        """Whether so much of the source is applied."""
        state = await self.state()
        return state is not None and state.offset is not None and part in state.offset

    async def n_gaps(self) -> int:
        """How many gaps were told."""
        state = await self.state()
        return 0 if state is None else sum(one.report.n_gaps for one in state.reports)


@asynccontextmanager
async def running(folder: Path, source: Adapter) -> AsyncIterator[App]:
    """The application while it runs, with all entries; they are there before it hears anything."""
    app = App(folder)
    assert isinstance(source, Source)
    is_first = await app.state() is None
    await app.read_all()
    consuming = asyncio.create_task(app.cache.consume(source))
    try:
        if is_first:
            # What was built before anybody listened is suspect once.
            await soon(app.has_offset, what="a stored offset")
            await app.read_all()
        yield app
    finally:
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming
        await app.cache.aclose()


async def is_touched(app: App, *keys: str) -> bool:
    """Whether these are no longer fresh."""
    return await app.touched() >= set(keys)


async def told(app: App) -> int:
    """The gaps, once one was told."""
    return await soon(app.n_gaps, what="a gap in the reports")
