"""Whatever happens to server, store, network and rights: clients end with the newest of what they may see.

The application itself runs, over a cache whose every answer the test decides. Hypothesis searches for an order of
commits, losses, trims, failures, restarts, changes of rights, clients that come, go and stall, and reads that take
their time, that breaks a promise: nobody ends with anything but the newest, nobody is shown an older value after a
newer one, and nobody is shown what was committed after the right to see it was taken away.
"""

import asyncio
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from everfresh.asgi import Request
from everfresh.model.entry import Key
from everfresh.push import Access, Grant, Topic, Updates, subject_key
from tests.push.browsing import Browser
from tests.push.fake import Call, DirectCall, calling
from tests.push.logged import LoggedCache
from tests.push.sse import Received
from tests.searching import n_searched

# On a busy machine it takes many times the seconds that it takes alone.
pytestmark = [pytest.mark.searching, pytest.mark.timeout(300)]

NAMES = ["a", "b"]
TOPICS = {name: Topic(Key(name)) for name in NAMES}
USERS = ["0", "1"]
ANYBODY = ""
# Far more turns of the loop than anything here needs to come to rest.
N_TURNS = 300


class Pages(RuleBasedStateMachine):
    """A server, a store, and the browsers of two users and of anybody."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        whose = [("0", Call), ("1", DirectCall), ("0", DirectCall), (ANYBODY, Call), (ANYBODY, DirectCall)]
        self.browsers = [Browser(number, user, by) for number, (user, by) in enumerate(whose)]
        self.rights = {user: {*NAMES} for user in (*USERS, ANYBODY)}
        # Of each right that was taken away: in which life of the store, and where in its order.
        self.denied_at: dict[tuple[str, str], list[int]] = {}

    @initialize()
    def begin(self) -> None:
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.cache = LoggedCache()
        self.may_grant = asyncio.Event()
        self.may_grant.set()
        self.updates = self._server()
        for name in NAMES:
            self.cache.put(name)
        for browser in self.browsers:
            await self._connect(browser)
        await self._go_on(40)

    def _server(self) -> Updates:
        return Updates(self.cache, TOPICS, access=Access(authorize=self._authorize), dice=lambda: 0.5)

    async def _authorize(self, request: Request, names: frozenset[str]) -> Grant:
        browser = self.browsers[int(parse_qs(request.query_string.decode())["number"][0])]
        may = names & self.rights[browser.user]
        browser.granted = may if browser.granted is None else browser.granted & may
        await self.may_grant.wait()
        await asyncio.sleep(0)
        return Grant(may, subjects=() if browser.user == ANYBODY else (f"user:{browser.user}",))

    # ------------------------------------------------------------------------------------------------- the store

    @rule(name=st.sampled_from(NAMES))
    def commit(self, name: str) -> None:
        self.cache.put(name)

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        self.cache.drop(name)

    @rule()
    def trim(self) -> None:
        self.cache.trim()

    @rule(names=st.lists(st.sampled_from(NAMES), unique=True), is_quick=st.booleans())
    def lose(self, names: list[str], is_quick: bool) -> None:
        self.cache.lose(names)
        # Right after it everything is read, and nothing is known.
        for name in NAMES:
            self.ask(name, is_quick)

    @rule()
    def fail(self) -> None:
        self.cache.fail()

    @rule(n_most=st.sampled_from([1, 2, 1_000]))
    def batch(self, n_most: int) -> None:
        self.cache.n_most = n_most

    @rule(name=st.sampled_from(NAMES), is_quick=st.booleans())
    def ask(self, name: str, is_quick: bool) -> None:
        may_ask = self.cache.may_ask[name]
        (may_ask.set if is_quick else may_ask.clear)()

    @rule(name=st.sampled_from(NAMES), is_quick=st.booleans())
    def answer(self, name: str, is_quick: bool) -> None:
        may_answer = self.cache.may_answer[name]
        (may_answer.set if is_quick else may_answer.clear)()

    @rule(name=st.sampled_from(NAMES))
    def load_slowly(self, name: str) -> None:
        """Stop where it is known that a value has changed, and not what it is."""
        self.ask(name, is_quick=False)
        self.cache.put(name)
        self.go_on(8)

    @rule(is_quick=st.booleans())
    def read(self, is_quick: bool) -> None:
        (self.cache.may_read.set if is_quick else self.cache.may_read.clear)()

    # ------------------------------------------------------------------------------------------------ the rights

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES), is_changed=st.booleans())
    def revoke(self, user: str, name: str, is_changed: bool) -> None:
        self.rights[user].discard(name)
        self.cache.put(subject_key(f"user:{user}"))
        self.denied_at.setdefault((user, name), [self.cache.n_lives, self.cache.sequence])
        if is_changed:
            self.cache.put(name)

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES))
    def allow(self, user: str, name: str) -> None:
        self.rights[user].add(name)
        self.denied_at.pop((user, name), None)
        self.cache.put(subject_key(f"user:{user}"))

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES), lost=st.sampled_from([None, *NAMES]))
    def allow_slowly(self, user: str, name: str, lost: str | None) -> None:
        """Stop where it is being asked again; another right may be lost meanwhile."""
        self.grant(is_quick=False)
        self.allow(user, name)
        self.go_on(8)
        if lost is not None:
            self.revoke(user, lost, is_changed=True)
            self.go_on(8)

    @rule(is_quick=st.booleans())
    def grant(self, is_quick: bool) -> None:
        (self.may_grant.set if is_quick else self.may_grant.clear)()

    # --------------------------------------------------------------------------------------- the clients, the server

    @rule(n_turns=st.sampled_from([1, 2, 3, 5, 8, 40]))
    def go_on(self, n_turns: int) -> None:
        self.runner.run(self._go_on(n_turns))

    @rule(number=st.integers(0, 4), is_reading=st.booleans())
    def connect(self, number: int, is_reading: bool) -> None:
        self.runner.run(self._connect(self.browsers[number], is_reading=is_reading))

    @rule(number=st.integers(0, 4), lost=st.sampled_from([None, *NAMES]))
    def connect_slowly(self, number: int, lost: str | None) -> None:
        """Stop where it is being asked what the client may see; it may lose a right meanwhile."""
        self.grant(is_quick=False)
        self.connect(number, is_reading=True)
        self.go_on(8)
        user = self.browsers[number].user
        if lost is not None and user != ANYBODY:
            self.revoke(user, lost, is_changed=True)
            self.go_on(8)

    @rule(number=st.integers(0, 4))
    def leave(self, number: int) -> None:
        self.runner.run(self._leave(self.browsers[number]))

    @rule(number=st.integers(0, 4), is_reading=st.booleans())
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
        self.updates = self._server()

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
            # Whoever leaves does not wait for a store that does not answer.
            waits = [one for one in self._gates() if not one.is_set()]
            for one in waits:
                one.set()
            await browser.stack.aclose()
            for one in waits:
                one.clear()
        browser.call = None

    def _gates(self) -> list[asyncio.Event]:
        cache = self.cache
        return [self.may_grant, cache.may_read, *cache.may_ask.values(), *cache.may_answer.values()]

    async def _go_on(self, n_turns: int) -> None:
        for _ in range(n_turns):
            await asyncio.sleep(0)
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
            if hasattr(self, "cache"):
                self.runner.run(self._end())
        finally:
            self.runner.close()

    async def _end(self) -> None:
        """Let everything come to rest, with everybody there, and look at what they show."""
        for gate in self._gates():
            gate.set()
        # Twice, as a stream may be about to end when all is well again.
        for _ in range(2):
            for browser in self.browsers:
                if browser.call is None or browser.call.task.done():
                    await self._connect(browser)
                assert browser.call is not None
                browser.call.may_send.set()
            await self._go_on(N_TURNS)
        for browser in self.browsers:
            self._is_right(browser)
            await self._leave(browser)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait([task])

    def _is_right(self, browser: Browser) -> None:
        assert browser.call is not None
        if browser.call.task.done():
            assert not self.rights[browser.user], "refused what it may see"
            return
        assert browser.granted is not None
        assert browser.granted <= self.rights[browser.user], "not asked about when its rights had changed"
        assert browser.granted <= browser.state.keys(), "not told of what it follows"
        assert browser.state.keys() <= self.rights[browser.user], "not told that it may see something no more"
        for name in browser.state:
            now = self.cache.entries.get(name)
            if now is None:
                assert browser.state[name] == "dropped"
            else:
                assert browser.shown[name] == [self.cache.n_lives, now.changed_at.sequence], f"{name} is not the newest"


Pages.TestCase.settings = settings(max_examples=n_searched(150), stateful_step_count=60, deadline=None)
TestPages = Pages.TestCase
