"""A server in a thread of its own: pages that a test writes, the client's files, and updates, real ones or scripted.

It counts what a browser cannot hide: how many streams are open, and how often one was asked for.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from everfresh import Cache, Entry, Key
from everfresh.asgi import Receive, Request, Scope, Send, request_of
from everfresh.push import Access, Grant, Topic, Updates, access_changed
from everfresh.push.client import Client
from tests.browser.scripted import Scripted
from tests.push.serving import Server

T = TypeVar("T")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types {}"
)
NO_SCRIPT = "; sandbox allow-same-origin"
PROBE = b"""globalThis.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(`${event.violatedDirective} ${event.sample}`));
globalThis.drawn = [];
addEventListener("live-entry:drawn", (event) => drawn.push(event.detail.topic));
globalThis.ran = 0;
"""
STYLE = b"#list { overflow: auto; height: 30px; }"
OLD = b"delete Element.prototype.setHTML;"
ALONE = b"delete Navigator.prototype.locks;"
LACKING = {"/plain/idiomorph.js", "/broken/worker.js"}
START_WITHIN_S = 20


@dataclass
class Streams:
    """Passes requests on and counts those that are streams."""

    app: Any
    n_begun: int = 0
    open: list[str] = field(default_factory=list[str])

    def topics_open(self) -> list[list[str]]:
        """The topics of each open stream."""
        return [parse_qs(query)["topic"] for query in self.open]

    @property
    def n_open(self) -> int:
        """How many are open."""
        return len(self.open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = request_of(scope).query_string.decode()
        if "last_event_id" not in query:
            await self.app(scope, receive, send)
            return
        self.n_begun += 1
        self.open.append(query)
        try:
            await self.app(scope, receive, send)
        finally:
            self.open.remove(query)


class Stage:
    """What a test sees of the server. Its methods are called from the test's own thread."""

    def __init__(self) -> None:
        self.scripted = Scripted()
        self._allowed: set[str] = set()
        self.client = Client("/live")
        self.pages: dict[str, tuple[bytes, str]] = {}
        self.pieces: list[bytes] = []
        """What `/pieces` answers: a stream of events, one piece after the other, and its end."""
        self.streams = Streams(None)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port = 0
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self.cache: Cache = Cache("memory:")
        self._updates: Updates | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_WITHIN_S)

    def clear(self) -> None:
        """Forget pages, script and values."""
        self.pages.clear()
        self._loop.call_soon_threadsafe(self.scripted.clear)
        self._allowed = {"a", "b", "c", "value"}
        self.put(a="one", b="one", c="one")

    def revoke(self, topic: str) -> None:
        """Let nobody see the topic any more."""
        self._allowed.discard(topic)
        self.call(access_changed(self.cache, "everybody"))

    def put(self, **values: object) -> None:
        """Give topics new values."""

        async def put() -> None:
            for name, value in values.items():
                await self.cache.put(name, value)

        self.call(put())

    def position(self) -> str:
        """Where the store is."""
        return self.call(self.cache.position()).text

    def page(
        self,
        body: str,
        *,
        allowed: str = "'none'",
        position: str | None = None,
        updates: str = "/updates",
        kind: str = "new",
        has_script: bool = True,
    ) -> str:
        """The address of a page with that body, under a strict policy; with `allowed` as its Trusted Types.

        Without `has_script` the browser runs none there, as if somebody had switched it off.

        In a browser of the kind `plain` there is no idiomorph, in an `old` one neither that nor setHTML, in one
        that is `alone` no Web Locks, in a `broken` one no worker that starts.
        """
        at = self.position() if position is None else position
        head = f'<meta name="live-updates" content="{updates}"><meta name="live-position" content="{at}">'
        if allowed == "live-entry":
            head += '<meta name="live-policy" content="live-entry">'
        files = {"plain": "plain", "old": "plain", "broken": "broken"}.get(kind, "live")
        html = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape("A page")}</title>{head}'
            f'<script type="module" src="/probe/{kind}.js"></script><link rel="icon" href="data:,">'
            '<link rel="stylesheet" href="/style.css">'
            f'<script type="module" src="/{files}/live-entry.js"></script></head>'
            f"<body><main><h1>A page</h1>{body}</main></body></html>"
        )
        path = f"/page/{len(self.pages)}"
        self.pages[path] = (html.encode(), POLICY.format(allowed) + ("" if has_script else NO_SCRIPT))
        return f"{self.url}{path}"

    def start(self) -> None:
        """Listen, at the same address as before if there was one."""

        async def begin() -> tuple[Server, socket.socket, asyncio.Task[None]]:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
            listener.listen(128)
            topics = {name: Topic(Key(name), shown) for name in "abc"} | {"value": Topic(Key("value"))}
            self._updates = Updates(self.cache, topics, access=Access(authorize=self._authorize), dice=at_once)
            self.streams.app = self._updates
            server = Server(self, self._updates.drain)
            task = asyncio.create_task(server.serve([listener]))
            await server.listening.wait()
            return server, listener, task

        self._server, self._listener, self._task = self.call(begin())
        self._port = self._listener.getsockname()[1]

    def stop(self) -> None:
        """Say goodbye and stop listening."""

        async def end() -> None:
            if self._server is not None and self._listener is not None and self._task is not None:
                self._server.should_exit = True
                await self.scripted.drain()
                await self._task
                self._listener.close()

        self.call(end())

    def close(self) -> None:
        self.stop()
        self.call(self.cache.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_WITHIN_S)
        self._loop.close()

    async def _authorize(self, request: Request, topics: frozenset[str]) -> Grant:
        return Grant(topics & self._allowed, user=request.host, subjects=["everybody"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            with suppress(asyncio.CancelledError):
                await self.client(scope, receive, send)
            return
        path = request_of(scope).path
        if path.startswith(("/live/", "/plain/", "/broken/")) and path not in LACKING:
            await self.client(scope, receive, send)
        elif path == "/updates":
            await self.streams(scope, receive, send)
        elif path == "/scripted":
            await self.scripted(scope, receive, send)
        elif path == "/pieces":
            await _stream(send, self.pieces)
        elif path == "/plain/idiomorph.js":
            await _answer(send, b"export const Idiomorph = null;", b"text/javascript", "")
        elif path == "/style.css":
            await _answer(send, STYLE, b"text/css", "")
        elif path.startswith("/probe/"):
            lacking = {"/probe/old.js": OLD, "/probe/alone.js": ALONE}.get(path, b"")
            await _answer(send, PROBE + lacking, b"text/javascript", "")
        elif path in self.pages:
            body, policy = self.pages[path]
            await _answer(send, body, b"text/html", policy)
        else:
            await _answer(send, b"nothing here", b"text/plain", "", status=404)


def at_once() -> float:
    """Dice by which everybody comes back as soon as may be."""
    return 0.0


def shown(entry: Entry) -> str:
    """The value is the HTML."""
    return str(msgspec.msgpack.decode(entry.value))


async def _answer(send: Send, body: bytes, kind: bytes, policy: str, status: int = 200) -> None:
    headers = [(b"content-type", kind + b"; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if policy:
        headers.append((b"content-security-policy", policy.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send, pieces: list[bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def staged() -> Iterator[Stage]:
    """The server while the block runs."""
    stage = Stage()
    stage.start()
    yield stage
    stage.close()
