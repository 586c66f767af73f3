"""Canaries: messages of one's own, sent through a source to hear whether it is silent or only quiet. Pure.

Several consumers of one queue hear each other's canaries, each as many as it sends on the average. Whatever comes shows
that the source delivers. So what is waited for is anything at all, and the longer, the more consumers share it.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from everfresh.model.clock import seconds_of
from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message

PREFIX = "everfresh.canary."
PATTERN = PREFIX + "*"
"""The topics of all canaries."""

HEADER = "everfresh-canary"
# Nobody else says so: an event may have the header too, copied from whatever set it off.
_BODY = b'{"everfresh":"canary"}'
# A message may be late, and one may be lost with a connection that broke just then.
_N_PERIODS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Send one `every` so often through the source. When nothing comes for three times that, the source is silent.

    Raises:
        InvalidOption: less than a second.
    """

    every: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        if seconds_of(self.every, option="every") < 1:
            raise InvalidOption(f"every: {self.every!r} is too often for a canary. Use a second or more.")


def canary_of(consumer: str) -> Message:
    """A canary of the consumer, whose name is one word of a topic."""
    # Brokers that drop doubles know them by their id.
    return Message(topic=PREFIX + consumer, body=_BODY, headers={HEADER: consumer}, id=uuid.uuid4().hex)


def is_canary(message: Message) -> bool:
    """Whether it is anybody's canary."""
    return message.body == _BODY and (message.topic.startswith(PREFIX) or HEADER in message.headers)


@dataclass(slots=True)
class Listening:
    """When to send a canary on a connection, and for how long nothing has come; seconds by the caller's clock.

    Without a canary (`every_s` None) only `idle_s` counts: for how long a source may be quiet.
    """

    every_s: float | None
    idle_s: float | None
    now: float
    _sent_at: float | None = field(init=False, default=None)
    _awaited_since: float | None = field(init=False, default=None)
    _quiet_since: float = field(init=False)

    def __post_init__(self) -> None:
        self._quiet_since = self.now

    def heard(self, now: float) -> None:
        """Something has come."""
        self._awaited_since = None
        self._quiet_since = now

    def listened(self, now: float) -> None:
        """Nobody listened until now: what was applied took its time."""
        self._quiet_since = max(self._quiet_since, now)

    def is_canary_due(self, now: float) -> bool:
        """Whether the next canary is to be sent; it then counts as sent."""
        if self.every_s is None or (self._sent_at is not None and now < self._sent_at + self.every_s):
            return False
        self._sent_at = now
        if self._awaited_since is None:
            self._awaited_since = now
        return True

    @property
    def silence_s(self) -> float:
        """What is too long for one consumer to hear nothing."""
        if self.every_s is not None:
            return self.every_s * _N_PERIODS
        return math.inf if self.idle_s is None else self.idle_s

    def silent_s(self, now: float) -> float | None:
        """For how long nothing has come although it should have; None when that is not too long for one consumer."""
        since = self._quiet_since if self.every_s is None else self._awaited_since
        return None if since is None or now - since < self.silence_s else now - since

    def is_silent(self, now: float, n_consumers: int) -> bool:
        """Whether it is too long for one of so many consumers of one queue."""
        silent_s = self.silent_s(now)
        if silent_s is None:
            return False
        return self.every_s is None or silent_s >= self.silence_s * n_consumers
