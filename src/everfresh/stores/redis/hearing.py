"""Hearing: a connection that waits for a stream, for one follower.

Rules
- The server is asked once, for longer than anybody listens at a time: who listens for two milliseconds looks whether a
  reply has come, and leaves the question open. The server itself ends a wait late by up to a tenth of a second.
- A question is older than what its follower was told meanwhile, so there may be something in the reply that it knows.
- Whoever refreshes waits for what is heard, so the reply is read here: through the driver, and with a selector of the
  library, that took three times as long.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import DefaultParser

from everfresh.stores.redis.early import N_EARLY
from everfresh.stores.redis.identity import Identity
from everfresh.stores.redis.packets import command_of
from everfresh.stores.redis.reading import Lines

# Longer than renewals are apart, so that they are what ends a wait.
_BLOCK_MS = 2_000
# A question that the server has not ended by then went nowhere: nobody tells of a connection that died in silence.
_OVERDUE_S = _BLOCK_MS / 1_000 + 1.0
_CLOSED = "the connection was closed"
_N_BYTES = 65_536
_READ = ("XREAD", "BLOCK", str(_BLOCK_MS), "COUNT", str(N_EARLY), "STREAMS")


class _Nothing:
    """In place of a reply of which something is still to come."""


class Ear:
    """For one thread at a time; whoever closes the client's connections ends its wait."""

    def __init__(self, lines: Lines, identity: Identity) -> None:
        self._lines = lines
        self._identity = identity
        self._asked: Any = None
        self._overdue_at = 0.0
        self._parser = _parser()

    def hear(self, stream: bytes, after: bytes, wait_s: float) -> Sequence[Any]:
        """The stream's next items, a few at most; none come within that time. Raises the driver's errors.

        There may be some among them that are not after that one.
        """
        if self._asked is not None and (
            self._identity.is_of_another(self._asked) or time.monotonic() >= self._overdue_at
        ):
            self.forget()
        if self._asked is None:
            self._overdue_at = time.monotonic() + _OVERDUE_S
            self._asked = self._lines.begin(command_of(_READ, (stream, after)))
        if not _has_news(self._asked, wait_s):
            return ()
        connection, self._asked = self._asked, None
        found = self._reply(connection)
        if isinstance(found, Exception):
            raise found
        return cast("Sequence[Any]", found[stream]) if found else ()

    def forget(self) -> None:
        """Let go of the question: it was about another life of the stream."""
        connection, self._asked = self._asked, None
        if connection is not None:
            # Half a word behind the last reply is of this connection.
            self._parser = _parser()
            self._lines.drop(connection)

    def _reply(self, connection: Any) -> Any:  # noqa: ANN401 - the driver's connections share no type
        try:
            while isinstance(found := self._parser.gets(), _Nothing | hiredis.PushNotification):
                if isinstance(found, _Nothing):
                    self._parser.feed(_received(connection))
        except BaseException:
            # What is left of the reply would be taken for the next one's.
            self._parser = _parser()
            self._lines.drop(connection)
            raise
        self._lines.keep(connection)
        return found


def _parser() -> Any:  # noqa: ANN401 - as above
    error_of: Any = cast("Any", DefaultParser).parse_error
    return hiredis.Reader(protocolError=exceptions.InvalidResponse, replyError=error_of, notEnoughData=_Nothing())


def _received(connection: Any) -> bytes:  # noqa: ANN401 - as above
    try:
        data: bytes = _plug_of(connection).recv(_N_BYTES)
    except TimeoutError as error:
        raise exceptions.TimeoutError("the rest of a reply did not come in time") from error
    if not data:
        raise exceptions.ConnectionError(_CLOSED)
    return data


def _plug_of(connection: Any) -> Any:  # noqa: ANN401 - as above
    # The driver's own way opens a connection anew that somebody has closed.
    plug = connection._sock  # noqa: SLF001
    if plug is None:
        raise exceptions.ConnectionError(_CLOSED)
    return plug


def _has_news(connection: Any, wait_s: float) -> bool:  # noqa: ANN401 - the driver's connections share no type
    """Whether something comes within that time, the end of the connection too."""
    # Of those that are closed while it waits, epoll forgets without a word.
    waiting = select.poll()
    waiting.register(_plug_of(connection), select.POLLIN)
    return bool(waiting.poll(wait_s * 1_000))
