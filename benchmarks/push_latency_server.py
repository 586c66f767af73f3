"""The processes that benchmarks/push_latency.py measures.

    python -m benchmarks.push_latency_server embedded memory:     serves, builds, publishes at each line of its input
    python -m benchmarks.push_latency_server web redis://...      serves
    python -m benchmarks.push_latency_server worker redis://...   builds

Each says in one line where it serves, or that it works, and ends with its input.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import uvicorn
import uvloop

from everfresh import Cache, Event, dep
from everfresh.cli.listening import Address, listen, url_of
from everfresh.push import Topic, Updates
from everfresh.refresh import Worker

TOPIC = "tick"


async def main(part: str, url: str) -> None:
    """Do the part until the input ends."""
    begun_ns = 0

    async with Cache(url) as cache, AsyncExitStack() as stack:

        @cache.cached(depends_on=[dep.Topic(TOPIC)], key="tick")
        async def value() -> tuple[int, int]:
            # The second makes each value another.
            return begun_ns, time.monotonic_ns()

        await value()
        where = "works"
        if part != "web":
            await stack.enter_async_context(Worker(cache))
        if part != "worker":
            where = await serve(Updates(cache, {"tick": Topic(value.key())}), stack)
        print(where, flush=True)
        async for _ in await _lines():
            begun_ns = time.monotonic_ns()
            await cache.publish(Event(TOPIC))


async def serve(updates: Updates, stack: AsyncExitStack) -> str:
    """Serve them in this process until the stack is left; where."""
    listener = stack.enter_context(listen(Address("127.0.0.1", 0)))
    server = uvicorn.Server(uvicorn.Config(updates, log_level="error", access_log=False, lifespan="off"))
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    stack.push_async_callback(server.shutdown, [listener])
    stack.push_async_callback(updates.drain)
    return url_of(listener)


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main(*sys.argv[1:3]))
