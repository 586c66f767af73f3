"""Message: what a source brings, before anybody has read it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes with a topic, as a source brought them.

    `topic` is the source's own: a routing key, a subject, the name of a stream. `id` is the source's or the sender's,
    empty where there is none. `headers` have texts alone; what a source keeps as another kind is written as JSON.
    """

    topic: str
    body: bytes
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    id: str = ""
