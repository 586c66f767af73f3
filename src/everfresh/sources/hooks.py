"""Hook: what one path takes, of whom, and how much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from everfresh.model.clock import seconds_of
from everfresh.model.errors import InvalidOption
from everfresh.sources.rates import Rate
from everfresh.sources.signatures import Verifier
from everfresh.sources.taken import Reader, Refused
from everfresh.sources.webhooks import Formats

Quarantine = Callable[[Sequence[Refused]], Awaitable[None]]
"""Keeps what is no event, so that its sender need not send it again; when it returns, that is durable."""

# What the hooks of well-known services stay below; a body is held in memory until it is answered.
_MAX_BYTES = 1_048_576
# One step of the store applies them all, and others wait for it.
_MAX_EVENTS = 10_000
# A sender that takes longer for a body of that size is none that should be waited for.
_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """What one path takes, of whom, and how much.

    `reader` says which events a request carries: `Formats` for CloudEvents, messages and Debezium, `WebhookRules` for
    webhooks of others. `verifier` says who may send, None: whoever reaches it. A request has at most `max_bytes` and
    `max_events`, comes to its end within `timeout`, and one source sends no more often than `rate`, None: at any rate.
    With a `quarantine`, what is no event is given to it and accepted.

    Raises:
        InvalidOption: a bound that is not above zero.
    """

    reader: Reader = field(default_factory=Formats)
    verifier: Verifier | None = None
    max_bytes: int = _MAX_BYTES
    max_events: int = _MAX_EVENTS
    timeout: timedelta = _TIMEOUT
    rate: Rate | None = None
    quarantine: Quarantine | None = None

    def __post_init__(self) -> None:
        if self.max_bytes <= 0:
            raise InvalidOption(f"max_bytes: {self.max_bytes} takes no event. Use at least 1024.")
        if self.max_events <= 0:
            raise InvalidOption(f"max_events: {self.max_events} takes no event. Use at least 1.")
        if seconds_of(self.timeout, option="timeout") <= 0:
            raise InvalidOption("timeout: 0 s leaves no time to send anything. Use some seconds.")
