"""The same promises over real stores, each with a second process beside the server's that does all the writing.

What the test of the same name decides by turns of the loop happens here by itself: another process tells, a feed is
read, entries are loaded. So fewer histories are searched, and coming to rest is waited for.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from everfresh import Cache
from everfresh.asgi import Request
from everfresh.model.entry import Entry, Key
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from everfresh.push import Access, Grant, Topic, Updates, access_changed
from everfresh.testing.waiting import soon
from tests.push.browsing import Browser
from tests.push.fake import Call, DirectCall, calling
from tests.push.sse import Received
from tests.redis_servers import RedisServer, new_prefix
from tests.searching import n_searched

# On a busy machine it takes many times the seconds that it takes alone.
pytestmark = [pytest.mark.searching, pytest.mark.timeout(300)]

NAMES = ["a", "b"]
TOPICS = {name: Topic(Key(name)) for name in NAMES}
USERS = ["0", "1"]
ANYBODY = ""
# A failure is waited for until a deadline: it is shown as it was found, and not made smaller.
SETTINGS = settings(
    max_examples=n_searched(20), stateful_step_count=30, deadline=None, phases=[Phase.generate], database=None
)


class Followed:
    """A cache, and a feed that can be cut short behind its reader."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.is_trimmed = False

    async def position(self) -> Position:
        return await self.cache.position()

    async def stored(self, key: Key) -> Entry | None:
        return await self.cache.stored(key)

    def watching(self, *keys: Key) -> AbstractContextManager[None]:
        return self.cache.watching(*keys)

    @asynccontextmanager
    async def feed(self, after: Position | None = None) -> AsyncGenerator[AsyncIterable[FeedBatch]]:
        async with self.cache.feed(after) as feed:
            yield self._read(feed)

    async def _read(self, feed: AsyncIterable[FeedBatch]) -> AsyncIterator[FeedBatch]:
        async for batch in feed:
            is_reset, self.is_trimmed = batch.is_reset or self.is_trimmed, False
            # As any store answers to who is too far behind.
            yield FeedBatch((), batch.position, is_reset=True) if is_reset else batch


class Pages(RuleBasedStateMachine):
    """A server over a store, a writer beside it, and the browsers of two users and of anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        whose = [("0", Call), ("1", DirectCall), (ANYBODY, DirectCall)]
        self.browsers = [Browser(number, user, by) for number, (user, by) in enumerate(whose)]
        self.rights = {user: {*NAMES} for user in (*USERS, ANYBODY)}
        # Values count the life of the store, and in it all that was committed.
        self.n_lives = self.n_commits = 0
        self.newest: dict[str, list[int]] = {}
        self.denied_at: dict[tuple[str, str], list[int]] = {}

    def new_url(self) -> str:
        """The address of a store that knows nothing."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        await self._open()
        for browser in self.browsers:
            await self._connect(browser)

    async def _open(self) -> None:
        """A store that knows nothing, and a server."""
        url = self.new_url()
        self.n_lives, self.n_commits, self.newest = self.n_lives + 1, 0, {}
        self.writer = await self.stack.enter_async_context(Cache(url))
        # What is in memory is nobody else's.
        own = self.writer if url == "memory:" else await self.stack.enter_async_context(Cache(url))
        self.followed = Followed(own)
        self._serve()
        for name in NAMES:
            await self._commit(name)

    def _serve(self) -> None:
        self.updates = Updates(self.followed, TOPICS, access=Access(authorize=self._authorize), dice=lambda: 0.5)

    async def _authorize(self, request: Request, names: frozenset[str]) -> Grant:
        browser = self.browsers[int(parse_qs(request.query_string.decode())["number"][0])]
        may = names & self.rights[browser.user]
        browser.granted = may if browser.granted is None else browser.granted & may
        await asyncio.sleep(0)
        return Grant(may, subjects=() if browser.user == ANYBODY else (f"user:{browser.user}",))

    # ------------------------------------------------------------------------------------------------- the store

    @rule(name=st.sampled_from(NAMES), n_times=st.sampled_from([1, 1, 5]))
    def commit(self, name: str, n_times: int) -> None:
        for _ in range(n_times):
            self.runner.run(self._commit(name))

    async def _commit(self, name: str) -> None:
        self.n_commits += 1
        self.newest[name] = [self.n_lives, self.n_commits]
        await self.writer.put(name, self.newest[name])

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        self.newest.pop(name, None)
        self.runner.run(self.writer.delete(name))

    @rule()
    def trim(self) -> None:
        self.followed.is_trimmed = True

    @rule()
    def lose(self) -> None:
        self.runner.run(self._lose())

    async def _lose(self) -> None:
        for browser in self.browsers:
            await self._leave(browser)
        await self.stack.aclose()
        await self._open()

    # ------------------------------------------------------------------------------------------------ the rights

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES), is_changed=st.booleans())
    def revoke(self, user: str, name: str, is_changed: bool) -> None:
        self.rights[user].discard(name)
        self.runner.run(access_changed(self.writer, f"user:{user}"))
        self.denied_at.setdefault((user, name), [self.n_lives, self.n_commits])
        if is_changed:
            self.runner.run(self._commit(name))

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES))
    def allow(self, user: str, name: str) -> None:
        self.rights[user].add(name)
        self.denied_at.pop((user, name), None)
        self.runner.run(access_changed(self.writer, f"user:{user}"))

    # --------------------------------------------------------------------------------------- the clients, the server

    @rule(n_turns=st.sampled_from([1, 3, 10, 40]))
    def go_on(self, n_turns: int) -> None:
        self.runner.run(self._go_on(n_turns))

    async def _go_on(self, n_turns: int) -> None:
        for _ in range(n_turns):
            await asyncio.sleep(0)
            self._take()

    @rule(number=st.integers(0, 2), is_reading=st.booleans())
    def connect(self, number: int, is_reading: bool) -> None:
        self.runner.run(self._connect(self.browsers[number], is_reading=is_reading))

    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        self.runner.run(self._leave(self.browsers[number]))

    @rule(number=st.integers(0, 2), is_reading=st.booleans())
    def stall(self, number: int, is_reading: bool) -> None:
        call = self.browsers[number].call
        if call is not None:
            (call.may_send.set if is_reading else call.may_send.clear)()

    @rule()
    def restart(self) -> None:
        self.runner.run(self._restart())

    async def _restart(self) -> None:
        for browser in self.browsers:
            await self._leave(browser)
        self._serve()

    async def _connect(self, browser: Browser, *, is_reading: bool = True) -> None:
        await self._leave(browser)
        cursor = browser.come(self.rights[browser.user])
        asked = [("topic", name) for name in NAMES]
        query = urlencode([*asked, ("last_event_id", cursor), ("number", browser.number)])
        called = calling(self.updates, query, by=browser.by, is_reading=is_reading)
        browser.call = await browser.stack.enter_async_context(called)

    async def _leave(self, browser: Browser) -> None:
        if browser.call is not None:
            browser.call.may_send.set()
            browser.call.inbox.put_nowait({"type": "http.disconnect"})
            await browser.stack.aclose()
        browser.call = None

    def _take(self) -> None:
        for browser in self.browsers:
            for event in browser.call.arrived() if browser.call is not None else ():
                browser.take(event)
                self._may_see(browser, event)

    def _may_see(self, browser: Browser, event: Received) -> None:
        if event.event == "update":
            denied_at = self.denied_at.get((browser.user, event.data["topic"]))
            assert denied_at is None or event.data["value"] <= denied_at, "committed after the right was taken away"

    def teardown(self) -> None:
        try:
            if hasattr(self, "updates"):
                self.runner.run(self._end())
        finally:
            self.runner.close()

    async def _end(self) -> None:
        for browser in self.browsers:
            if browser.call is None or browser.call.task.done():
                await self._connect(browser)
            assert browser.call is not None
            browser.call.may_send.set()
        are_right: Callable[[], bool | Awaitable[bool]] = self._are_right
        await soon(are_right, what="all browsers show what they may see")
        for browser in self.browsers:
            await self._leave(browser)
        await self.stack.aclose()

    async def _are_right(self) -> bool:
        for browser in self.browsers:
            if browser.call is not None and browser.call.task.done() and self.rights[browser.user]:
                # Refused before it had any right.
                await self._connect(browser)
        self._take()
        return all(map(self._is_right, self.browsers))

    def _is_right(self, browser: Browser) -> bool:
        granted, rights = browser.granted, self.rights[browser.user]
        if browser.call is not None and browser.call.task.done():
            return not rights
        if granted is None or not granted <= browser.state.keys() <= rights:
            return False
        newest = {name: self.newest[name] for name in browser.state if name in self.newest}
        is_gone = {name: state == "dropped" for name, state in browser.state.items()}
        shown = {name: browser.shown.get(name) for name in newest}
        return shown == newest and is_gone == {name: name not in newest for name in browser.state}


def search(new_url: Callable[[], str]) -> None:
    class OverOne(Pages):
        @override
        def new_url(self) -> str:
            return new_url()

    run_state_machine_as_test(OverOne, settings=SETTINGS)


def test_over_a_store_in_memory() -> None:
    """The writer is in the server's own process."""
    search(lambda: "memory:")


def test_over_a_file(tmp_path: Path) -> None:
    """The writer is another process as far as the store can tell."""
    numbers = count()
    search(lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.db'}")


def test_over_redis(shared_redis: RedisServer) -> None:
    """Word comes over the network."""
    search(lambda: f"{shared_redis.url}?prefix={new_prefix()}")
