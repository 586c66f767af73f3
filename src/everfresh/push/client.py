"""Client: the files that browsers need to show live entries, and what a page's head says to them.

Plain files and plain ASGI: whoever serves files in another way takes them from `FOLDER`.
"""

from __future__ import annotations

from hashlib import sha256
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Final

from everfresh.asgi import Problem, Receive, Scope, Send, live, refuse, request_of
from everfresh.model.position import Position

FOLDER: Final = Path(__file__).with_name("static")
"""Where the files are: ES modules that import each other by relative names."""

POLICY: Final = "live-entry"
"""The Trusted Types policy that a page may allow; with it, tabs share one stream in a worker."""

ENTRANCE: Final = "live-entry.js"
# Built from its npm package into the wheel. In a tree where nobody has built it, content is replaced instead.
_MORPHING: Final = "idiomorph.js"
_NO_MORPHING: Final = b"export const Idiomorph = null;\n"
_HEADERS: Final = {"content-type": "text/javascript; charset=utf-8", "x-content-type-options": "nosniff"}
# Under an address that names the digest the files never change; under any other they are asked for again.
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


class Client:
    """An ASGI application that serves the files; mount it at a path of its own, such as `/live`.

    `head(...)` is what a page that shows live entries has in its head.
    """

    def __init__(self, path: str = "/live", *, updates: str = "/updates") -> None:
        self._files = _files()
        self.digest = sha256(b"".join(name.encode() + body for name, body in self._files.items())).hexdigest()[:16]
        self._base = f"{path.rstrip('/')}/{self.digest}"
        self._updates = updates

    def head(self, position: Position, *, is_policy_allowed: bool = False) -> str:
        """HTML for the head of a page that was drawn after `position` was read.

        Say `is_policy_allowed` when the page's Content-Security-Policy has `trusted-types live-entry`, or no
        `trusted-types` at all: tabs then share a worker. Else they elect one of them.
        """
        said = {"updates": self._updates, "position": position.text}
        if is_policy_allowed:
            said["policy"] = POLICY
        metas = [f'<meta name="live-{name}" content="{escape(text)}">' for name, text in said.items()]
        others = [name for name in self._files if name not in {ENTRANCE, "worker.js"}]
        preloads = [f'<link rel="modulepreload" href="{escape(self._base)}/{name}">' for name in others]
        script = f'<script type="module" src="{escape(self._base)}/{ENTRANCE}"></script>'
        return "\n".join([*metas, *preloads, script])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, send)
        else:
            await send({"type": "websocket.close"})

    async def _serve(self, scope: Scope, send: Send) -> None:
        request = request_of(scope)
        folder, _, name = request.path.rpartition("/")
        body = self._files.get(name)
        if body is None:
            await refuse(send, Problem(HTTPStatus.NOT_FOUND, f"There is no file {name[:80]!r} here."))
        elif request.method not in {"GET", "HEAD"}:
            detail = f"{request.method}: a file is read with GET."
            await refuse(send, Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": "GET, HEAD"}))
        else:
            etag = f'"{self.digest}"'
            is_known = etag in request.texts().get("if-none-match", "")
            cache_control = _FOR_EVER if folder.endswith(f"/{self.digest}") else _ASK_AGAIN
            headers = {**_HEADERS, "cache-control": cache_control, "etag": etag}
            if not is_known:
                headers["content-length"] = str(len(body))
            status = HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK
            encoded = [(name.encode(), text.encode()) for name, text in headers.items()]
            await send({"type": "http.response.start", "status": status.value, "headers": encoded})
            is_sent = request.method == "GET" and not is_known
            await send({"type": "http.response.body", "body": body if is_sent else b""})


def _files() -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.js"))}
    return {_MORPHING: _NO_MORPHING} | files
