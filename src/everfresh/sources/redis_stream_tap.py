"""A look at a Redis stream beside its consumers: no group, nothing to acknowledge, from now on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from everfresh.model.message import Message
from everfresh.sources.redis_stream_terms import Terms
from everfresh.sources.source import Batch, SourceUnavailable
from everfresh.stores.redis.failures import DRIVER_ERRORS

# The driver gives up after two seconds of silence.
_BLOCK_S = 1.0


class OpenTap:
    """Reads along; see `Stream`."""

    def __init__(self, client: Any, terms: Terms) -> None:  # noqa: ANN401 - an untyped driver
        self._client = client
        self._terms = terms
        self._stream = terms.stream
        self._last = "0-0"

    async def begin(self) -> None:
        """Begin at the end; see `Adapter.open`."""
        newest = await self._asked("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
        for entry_id, _ in newest:
            self._last = entry_id.decode()

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        """What has come; see `Stream.fetch`."""
        wait_ms = max(1, int(min(wait_s, _BLOCK_S) * 1_000))
        command = ("XREAD", "BLOCK", wait_ms, "COUNT", n_max, "STREAMS", self._stream, self._last)
        entries = _of_stream(await self._asked(*command), self._stream)
        messages = [self._terms.fields.message_of(self._stream, one.decode(), entry) for one, entry in entries]
        if messages:
            self._last = entries[-1][0].decode()
        return Batch(messages=messages)

    async def _asked(self, *command: Any) -> Any:  # noqa: ANN401 - as above
        try:
            return await self._client.execute_command(*command)
        except DRIVER_ERRORS as error:
            raise self._terms.unavailable(error) from error

    async def acknowledge(self, batch: Batch) -> None:
        """Nothing waits for it."""

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - the stream brings all of them
        """Nothing to do: all of the stream comes."""
        return ()

    async def send(self, message: Message) -> NoReturn:
        """Who only looks sends nothing."""
        raise SourceUnavailable(f"stream {self._stream}: nothing is sent by who only looks ({message.topic}).")


def _of_stream(told: Any, stream: str) -> Any:  # noqa: ANN401 - an untyped driver
    """The entries that XREAD told; none is None."""
    return told[stream.encode()] if told else ()
