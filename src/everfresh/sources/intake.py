"""Intake: one request of one hook, from its first byte to its answer."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import assert_never

from everfresh.asgi import (
    BodyTooLarge,
    ClientGone,
    Problem,
    Receive,
    Request,
    Send,
    answer,
    network_of,
    read_body,
    refuse,
)
from everfresh.model.clock import Clock, seconds_of
from everfresh.model.errors import StoreError
from everfresh.sources.answers import Accepted, accepted, partly_applied
from everfresh.sources.hooks import Hook
from everfresh.sources.joining import Joining
from everfresh.sources.messages import Malformed
from everfresh.sources.rates import Buckets
from everfresh.sources.room import Grow, NoRoom, Room
from everfresh.sources.signatures import Unverified
from everfresh.sources.taken import MediaNotSupported, Refused, Taken, TooManyEvents

_log = logging.getLogger("everfresh.sources")

# A sender keeps what was not accepted, and tries again after so many seconds.
_RETRY_AFTER = {"retry-after": "5"}
# Whoever says that more comes means it.
_MAX_DIGITS = 18

Outcome = Accepted | Problem


class Intake:
    """Serves the requests of one hook."""

    def __init__(self, hook: Hook, room: Room, joining: Joining, clock: Clock) -> None:
        self._hook = hook
        self._room = room
        self._joining = joining
        self._clock = clock
        timeout_s = seconds_of(hook.timeout, option="timeout")
        # Not every event loop can wait for infinity.
        self._timeout_s = None if timeout_s == math.inf else timeout_s
        self._buckets = None if hook.rate is None else Buckets(hook.rate)

    async def serve(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with self._room.share() as grow:
            try:
                outcome = await self._outcome(request, receive, grow)
            except ClientGone:
                return
            except (Malformed, MediaNotSupported, TooManyEvents) as error:
                outcome = _problem_of(error)
            except StoreError as error:
                _log.warning("publish.failed %s", {"error": repr(error)})
                outcome = Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"Not applied: {error}", headers=_RETRY_AFTER)
        if isinstance(outcome, Problem):
            await refuse(send, outcome)
        else:
            await answer(send, HTTPStatus.ACCEPTED, outcome, "application/json")

    async def _outcome(self, request: Request, receive: Receive, grow: Grow) -> Outcome:
        if request.method != "POST":
            detail = f"{request.method}: events are sent with POST."
            return Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": "POST"})
        headers = request.texts()
        refusal = self._limited(request, headers)
        if refusal is not None:
            return refusal
        body = await self._body(headers, receive, grow)
        if isinstance(body, Problem):
            return body
        refusal = self._unverified(headers, body)
        if refusal is not None:
            return refusal
        return await self._published(headers, body)

    def _limited(self, request: Request, headers: Mapping[str, str]) -> Problem | None:
        """The refusal of a source that sends too often."""
        if self._hook.rate is None or self._buckets is None:
            return None
        name = self._hook.rate.header
        host = request.host if name is None else headers.get(name.lower(), request.host)
        wait_s = self._buckets.wait_s(network_of(host), self._clock())
        if wait_s == 0:
            return None
        retry_after = {"retry-after": str(math.ceil(wait_s))}
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, "Send less often, or more events at once.", headers=retry_after)

    def _unverified(self, headers: Mapping[str, str], body: bytes) -> Problem | None:
        """The refusal of what nobody signed who has a key."""
        verifier = self._hook.verifier
        if verifier is None:
            return None
        try:
            verifier.verify(headers, body, now=self._clock())
        except Unverified as error:
            asked = {"www-authenticate": verifier.scheme}
            return Problem(HTTPStatus.UNAUTHORIZED, str(error), at=error.at, headers=asked)
        return None

    async def _body(self, headers: Mapping[str, str], receive: Receive, grow: Grow) -> bytes | Problem:
        max_bytes = self._hook.max_bytes
        # The server throws away what still comes. To close on the sender instead would often cost it this answer.
        too_large = Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {max_bytes} bytes. Send fewer events at once."
        )
        length = headers.get("content-length", "")
        if length.isdecimal() and length.isascii() and (len(length) > _MAX_DIGITS or int(length) > max_bytes):
            return too_large
        try:
            async with asyncio.timeout(self._timeout_s):
                return await read_body(receive, max_bytes=max_bytes, grow=grow)
        except BodyTooLarge:
            return too_large
        except TimeoutError:
            detail = f"The body did not come to its end within {self._timeout_s} s."
            return Problem(HTTPStatus.REQUEST_TIMEOUT, detail)
        except NoRoom:
            detail = "Too much is being received just now. Send again later."
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_RETRY_AFTER)

    async def _published(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        hook = self._hook
        try:
            taken = hook.reader.read(headers, body, n_max=hook.max_events)
        except Malformed as error:
            if hook.quarantine is None:
                raise
            taken = Taken(refused=[Refused(number=0, error=error, item=body, headers=_telling(headers))])
        position = await self._joining.publish(taken.events)
        if not taken.refused:
            return accepted(taken, position)
        if hook.quarantine is None:
            return partly_applied(taken, position)
        try:
            # After the events: if it fails all of it comes again, and no event has waited for it.
            await hook.quarantine(taken.refused)
        except Exception as error:  # noqa: BLE001 - whatever it is made of, what it could not keep is not accepted
            _log.warning("quarantine.failed %s", {"error": repr(error)})
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "What is no event could not be kept.", headers=_RETRY_AFTER)
        return accepted(taken, position)


def _telling(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that say what a body is. No others, as some of them are secret."""
    return {
        name: value
        for name, value in headers.items()
        if name == "content-type" or name.startswith("ce-") or name.endswith("-event")
    }


def _problem_of(error: Malformed | MediaNotSupported | TooManyEvents) -> Problem:
    match error:
        case Malformed():
            return Problem(HTTPStatus.BAD_REQUEST, str(error), at=error.at)
        case MediaNotSupported():
            return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error), at=error.at)
        case TooManyEvents():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        case _:
            assert_never(error)
