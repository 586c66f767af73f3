"""Quarantine: what no format could read, kept in the store until somebody looks."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from everfresh.cache.sourcing import SourceOperations
from everfresh.model.errors import InvalidOption, StoreError
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Unreadable
from everfresh.sources.addresses import told
from everfresh.sources.formats import PartlyRead, format_named
from everfresh.sources.hooks import Quarantine
from everfresh.sources.messages import Malformed
from everfresh.sources.reports import logger
from everfresh.sources.source import Format
from everfresh.sources.taken import Refused

ANYTHING = ("#",)
"""The pattern of all topics: of what goes out of the quarantine, which all sources share, nobody knows what it said."""

DROPPED = "the quarantine was full, and messages in it are gone"
"""Why that makes suspect."""

BETWEEN_ANSWERS_S = 600.0
"""Who floods a source with nonsense must not have everything built anew all the time."""

_ID_BYTES = 12
# What has more cannot be tried again: a few such messages must not push all others out.
_MAX_BYTES = 262_144
_MAX_HEADER_BYTES = 65_536
_CUT = "everfresh-cut"


class HasSources(Protocol):
    """What is needed of a cache."""

    @property
    def sources(self) -> SourceOperations:
        """What sources do with it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What came of another try: how many messages and events were applied, and what is still no event, and why."""

    n_messages: int
    n_events: int
    unreadable: tuple[Unreadable, ...]


def unreadable(source: str, format_name: str, reason: str, message: Message) -> Unreadable:
    """The message as it is kept; its id is made of the source and all that the message says.

    Of a body of more than 262,144 bytes only the first are kept, of headers those that have room in 65,536 bytes; a
    header says how many bytes there were.
    """
    digest = hashlib.blake2b(digest_size=_ID_BYTES)
    headers = (text for pair in sorted(message.headers.items()) for text in pair)
    for part in (source, message.topic, message.id, *headers):
        digest.update(_framed(part.encode("utf-8", "surrogatepass")))
    digest.update(_framed(message.body))
    kept = _cut(message)
    return Unreadable(id=digest.hexdigest(), source=source, format=format_name, reason=reason, message=kept)


def kept_in(cache: HasSources, *, source: str = "http", format: str = "auto", n_max: int = 1_000) -> Quarantine:  # noqa: A002 - the word for it
    """For `Hook(quarantine=...)`: keeps what is no event in the cache's store, under the name of the source.

    `format` is the name of what is to read it when it is tried again; `n_max` are kept, of all sources together.
    """
    next_answer_at = 0.0

    async def keep(refused: Sequence[Refused]) -> None:
        nonlocal next_answer_at
        kept = [unreadable(source, format, str(one.error), _message_of(one)) for one in refused]
        n_dropped = await cache.sources.quarantine(kept, n_max=n_max)
        if n_dropped:
            logger.warning("%s %s", "quarantine.full", {"source": source, "n_dropped": n_dropped})
        now = asyncio.get_running_loop().time()
        if n_dropped and now >= next_answer_at:
            await cache.sources.suspect(ANYTHING, f"{source}: {DROPPED}")
            next_answer_at = now + BETWEEN_ANSWERS_S

    return keep


async def retry(cache: HasSources, kept: Sequence[Unreadable], *, format: Format | None = None) -> Retried:  # noqa: A002 - as above
    """Read messages once more, by their own formats or the one that is given, apply their events and forget them.

    What is still no event stays as it is; the answer says why. Repeating is safe. A format of one's own is taken only
    if the application has imported its module: a store is data, and chooses no code.

    Raises:
        StoreUnavailable: those that are still kept are as they were.
    """
    n_messages = n_events = 0
    still: list[Unreadable] = []
    for one in kept:
        try:
            reading = format or _format_kept(one.format)
            n_events += await _read_again(cache, reading, one.message)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - as when it came: whatever it is, the message is no event
            name = one.format if format is None else format.name
            still.append(msgspec.structs.replace(one, reason=reason_of(error), format=name))
        else:
            await cache.sources.release([one.id])
            n_messages += 1
    return Retried(n_messages=n_messages, n_events=n_events, unreadable=tuple(still))


async def _read_again(cache: HasSources, reading: Format, message: Message) -> int:
    if _CUT in message.headers:
        raise Malformed(
            "", f"only some of its {message.headers[_CUT]} bytes, headers included, were kept; send it again"
        )
    try:
        events = reading.events_of(message)
    except PartlyRead as error:
        await cache.sources.apply(error.events)
        raise
    await cache.sources.apply(events)
    return len(events)


def reason_of(error: Exception) -> str:
    """Why a message is no event, for people."""
    return str(error) if isinstance(error, (Malformed, InvalidOption)) else told(error)


def _format_kept(name: str) -> Format:
    """The format that a store names.

    Raises:
        InvalidOption: there is none of that name, or nobody here has imported it.
    """
    module, colon, _ = name.partition(":")
    if colon and module not in sys.modules:
        raise InvalidOption(f"format: {name!r} is not imported here. Import it with the application, or name it.")
    return format_named(name)


def _cut(message: Message) -> Message:
    headers: dict[str, str] = {}
    n_bytes = 0
    for name, text in message.headers.items():
        n_bytes += _n_bytes(name) + _n_bytes(text)
        if n_bytes <= _MAX_HEADER_BYTES:
            headers[name] = text
    if len(message.body) <= _MAX_BYTES and n_bytes <= _MAX_HEADER_BYTES:
        return message
    headers[_CUT] = str(len(message.body) + n_bytes)
    return msgspec.structs.replace(message, body=message.body[:_MAX_BYTES], headers=headers)


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _message_of(refused: Refused) -> Message:
    item = refused.item
    body = item if isinstance(item, bytes) else msgspec.json.encode(item)
    return Message(topic="", body=body, headers=refused.headers)


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part
