"""The tracker's HTTP API as the page uses it: a plain client that knows nothing of caches."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx2
import msgspec

T = TypeVar("T")
TIMEOUT_S = 30.0
_KEY = re.compile(r"[A-Z]{2,8}-[0-9]{1,8}", re.ASCII)


class TrackerRefused(Exception):
    """The tracker does not accept a change; the text is its own."""


class Tracker:
    """A client of the tracker, usable between entering and leaving `at`."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def at(self, url: str) -> AsyncGenerator[None]:
        """Ask the tracker at this address while the block runs."""
        async with httpx2.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
            self._client = client
            yield

    async def get(self, path: str, kind: type[T], **query: str | int) -> T:
        """The tracker's answer, read as `kind`.

        Raises:
            httpx2.HTTPError: it did not answer, or not with 200.
        """
        answer = await self._http.get(path, params=query)
        return msgspec.json.decode(answer.raise_for_status().content, type=kind)

    async def change(self, key: str, fields: Mapping[str, str | None], *, actor: str) -> None:
        """Change fields of an issue.

        Raises:
            TrackerRefused: a field does not fit.
            httpx2.HTTPError: the tracker did not answer.
        """
        _accepted(await self._http.patch(f"/issues/{_segment(key)}", json={"actor": actor, **fields}))

    async def comment(self, key: str, text: str, *, actor: str) -> None:
        """Say something about an issue.

        Raises:
            TrackerRefused: the text does not fit.
            httpx2.HTTPError: the tracker did not answer.
        """
        _accepted(await self._http.post(f"/issues/{_segment(key)}/comments", json={"actor": actor, "text": text}))

    async def create(self, *, team: str, component: str, title: str, actor: str) -> None:
        """Open a new issue.

        Raises:
            TrackerRefused: a field does not fit.
            httpx2.HTTPError: the tracker did not answer.
        """
        issue = {"actor": actor, "team": team, "component": component, "title": title}
        _accepted(await self._http.post("/issues", json=issue))

    @property
    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            raise RuntimeError("the tracker's address is not known. Enter `tracker.at(url)` first.")
        return self._client


def _segment(key: str) -> str:
    """The key as one segment of a path: it came from a form, and must not lead anywhere else."""
    if _KEY.fullmatch(key) is None:
        raise TrackerRefused(f"{key[:20]!r} is no issue. Choose one of the list.")
    return key


def _accepted(answer: httpx2.Response) -> None:
    if answer.is_client_error:
        raise TrackerRefused(str(answer.json().get("detail", answer.text)))
    answer.raise_for_status()
