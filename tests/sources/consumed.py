"""A cache in a loop without waits, what it is told of, and ways to make its store fail."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from everfresh import Cache, StoreUnavailable, dep
from everfresh.cache.cache import Consumable
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Report, SourceState


def message(topic: str, /, **body: object) -> Message:
    """A message with a JSON body."""
    return Message(topic=topic, body=json.dumps(body).encode())


class World:
    """A cache with a function of what happens to things, and how often it was built for each."""

    def __init__(self) -> None:
        self.cache = Cache("memory:", clock=asyncio.get_running_loop().time, dice=lambda: 1.0)
        self.n_built: dict[int, int] = {}

        @self.cache.cached(depends_on=[dep.Topic("thing.*", where={"id": dep.arg("thing")})])
        async def built(thing: int) -> int:
            self.n_built[thing] = self.n_built.get(thing, 0) + 1
            return self.n_built[thing]

        self.built = built

    @asynccontextmanager
    async def consuming(self, *sources: Consumable) -> AsyncGenerator[asyncio.Task[None]]:
        """While the block runs, and to its end."""
        task = asyncio.create_task(self.cache.consume(*sources))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def state(self, name: str = "fake") -> SourceState:
        """What the store knows of the source."""
        (state,) = (await self.cache.sources.read([name])).states
        return state

    async def report(self, name: str = "fake") -> Report:
        """What its newest report says."""
        return (await self.state(name)).reports[0].report

    def fail(self, operation: str, *errors: Exception | Callable[[], Awaitable[None]]) -> None:
        """Have the next calls of an operation of sources raise these, before it is carried out."""
        carry_out = getattr(self.cache.sources, operation)
        left = list(errors)

        async def failing(*args: object, **options: object) -> object:
            if left:
                error = left.pop(0)
                if isinstance(error, Exception):
                    raise error
                await error()
            return await carry_out(*args, **options)

        setattr(self.cache.sources, operation, failing)


AWAY = StoreUnavailable("away")
