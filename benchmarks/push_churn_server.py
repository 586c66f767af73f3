"""The server that benchmarks/push_churn.py measures: `python -m benchmarks.push_churn_server`.

It says in one line where it serves, and ends with its input. Values change all the time, some topics come and go, and
so do rights. `GET /streams` says how many streams are open, `GET /state` what the process holds once garbage is
collected.
"""

import asyncio
import gc
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sized
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from benchmarks.push_churn_state import (
    KEY,
    N_BUILT,
    N_NUMBERS,
    N_ROOMS,
    N_USERS,
    State,
    room_now,
)

from everfresh import Cache, Event, dep
from everfresh.asgi import Receive, Request, Scope, Send, answer
from everfresh.cli.listening import Address, listen, raise_limit, url_of
from everfresh.model.entry import Entry, Key
from everfresh.push import Access, Grant, Limits, Topic, Updates, access_changed
from everfresh.push.tokens import TopicTokens
from everfresh.refresh import Worker

# Less than there are, so that entries are dropped too.
_MAX_ENTRIES = 160
_TURN_S = 0.1
# The store keeps so many records of its feed at most; it does so from the first.
_N_FILLING = 20_000
# Every so many turns.
_RIGHTS_EVERY, _ROOMS_EVERY = 3, 5
_SMALL, _LARGE = "x" * 200, "x" * 8_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def main() -> None:
    """Serve until the input ends."""
    raise_limit()
    # Some things here are made to fail.
    logging.getLogger("everfresh").setLevel(logging.CRITICAL)
    async with Cache("memory:", max_entries=_MAX_ENTRIES) as cache, AsyncExitStack() as stack:
        site = _Site(cache)
        await stack.enter_async_context(Worker(cache))
        print(await _serve(site, stack), flush=True)
        async with asyncio.TaskGroup() as group:
            changing = group.create_task(site.change())
            async for _ in _lines():
                pass
            changing.cancel()


class _Site:
    """The application."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._random = random.Random(6)  # noqa: S311 - the same each time
        self._denied: set[tuple[str, str]] = set()

        @cache.cached(depends_on=[dep.Topic("built", where={"n": dep.arg("n")})], key="built:{n}")
        async def built(n: int) -> list[object]:
            return [n, time.monotonic_ns(), _SMALL]

        self._built = built
        self.updates = Updates(
            cache,
            _topic,
            access=Access(authorize=self._authorize, tokens=TopicTokens(KEY), origins=["https://elsewhere.example"]),
            limits=Limits(per_user=12, per_address=40, header="x-real-ip"),
            heartbeat=timedelta(seconds=2),
            patience=timedelta(seconds=4),
            lifetime=timedelta(seconds=60),
            compress=True,
            on_sent=self._note,
        )
        self._n_sent: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        match scope["path"]:
            case "/streams":
                await answer(send, HTTPStatus.OK, self.updates.n_streams, "application/json")
            case "/state":
                await answer(send, HTTPStatus.OK, state(self.updates.n_streams), "application/json")
            case _:
                await self.updates(scope, receive, send)

    async def change(self) -> None:
        """Change values, rooms and rights, for ever."""
        for n in range(N_BUILT):
            await self._built(n)
        for n in range(_N_FILLING):
            await self._cache.put("number:0", [0, -n, _SMALL])
        turn = 0
        while True:
            turn += 1
            n = self._random.randrange(N_NUMBERS)
            await self._cache.put(f"number:{n}", [n, turn, _SMALL if n % 4 else _LARGE])
            await self._cache.publish(Event("built", {"n": self._random.randrange(N_BUILT)}))
            if not turn % _ROOMS_EVERY:
                room = room_now()
                await self._cache.put(f"room:{room}", [room, turn, _SMALL])
                await self._cache.delete(f"room:{room - N_ROOMS}")
            if not turn % _RIGHTS_EVERY:
                await self._change_rights()
            await asyncio.sleep(_TURN_S)

    async def _change_rights(self) -> None:
        user = f"u{self._random.randrange(N_USERS)}"
        self._denied ^= {(user, f"number:{self._random.randrange(N_NUMBERS)}")}
        if len(self._denied) > N_USERS:
            self._denied.clear()
        await access_changed(self._cache, f"user:{user}")

    async def _authorize(self, request: Request, names: frozenset[str]) -> Grant | None:
        user = request.texts().get("x-user", "")
        if user == "nobody":
            return None
        if not user:
            return Grant(names)
        await asyncio.sleep(0)
        granted = [name for name in names if (user, name) not in self._denied]
        expires_at = time.time() + 5 if user.endswith("9") else None
        return Grant(granted, user=user, subjects=(f"user:{user}", f"team:{len(user)}"), expires_at=expires_at)

    def _note(self, topic: str, version: int) -> None:  # noqa: ARG002 - as it is called
        self._n_sent[topic.partition(":")[0]] += 1


def state(n_streams: int) -> State:
    """What this process holds, with nothing that is garbage."""
    while gc.collect():
        pass
    objects = gc.get_objects()
    sizes = _bytes_of_process()
    n_of = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in objects)
    return State(
        at=time.monotonic(),
        rss=int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES,
        pss=sizes["Pss"],
        uss=sizes["Private_Clean"] + sizes["Private_Dirty"],
        n_blocks=sys.getallocatedblocks(),
        n_objects=len(objects),
        n_tasks=len(asyncio.all_tasks()),
        n_files=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        n_streams=n_streams,
        cpu_s=time.process_time(),
        objects=dict(n_of),
        sizes=_sizes(objects),
    )


def _bytes_of_process() -> dict[str, int]:
    """What the system counts, by its names."""
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    return {name.rstrip(":"): int(size) * 1_024 for name, size, _ in lines}


def _sizes(objects: Iterable[object]) -> dict[str, int]:
    """How much all that Everfresh's own objects hold in collections has, by class and attribute."""
    sizes: Counter[str] = Counter()
    for one in objects:
        kind = type(one)
        if str(kind.__module__).startswith("everfresh"):
            for name, value in _attributes(one):
                if isinstance(value, Sized) and not isinstance(value, (str, bytes, type)):
                    with suppress(Exception):
                        sizes[f"{kind.__qualname__}.{name}"] += len(value)
    return dict(sizes)


def _attributes(one: object) -> Iterable[tuple[str, Any]]:
    yield from getattr(one, "__dict__", {}).items()
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with suppress(AttributeError):
                yield name, getattr(one, name)


def _topic(name: str) -> Topic | None:
    kind, _, number = name.partition(":")
    if kind not in {"number", "built", "room", "html", "broken"} or not number.isdecimal():
        return None
    if kind == "html":
        return Topic(Key(f"number:{number}"), render=_html)
    if kind == "broken":
        return Topic(Key(f"number:{number}"), render=_fail)
    return Topic(Key(name))


def _html(entry: Entry) -> str:
    return f"<b>{msgspec.msgpack.decode(entry.value)[1]}</b>"


def _fail(entry: Entry) -> str:
    raise ValueError(entry.key)


async def _serve(site: _Site, stack: AsyncExitStack) -> str:
    listener = stack.enter_context(listen(Address("127.0.0.1", 0)))
    server = uvicorn.Server(uvicorn.Config(site, log_level="critical", access_log=False, lifespan="off"))
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    stack.push_async_callback(server.shutdown, [listener])
    stack.push_async_callback(site.updates.drain)
    return url_of(listener)


async def _lines() -> AsyncGenerator[bytes]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        yield line


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
