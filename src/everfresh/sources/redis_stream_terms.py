"""What of a Redis stream is consumed, and how."""

from __future__ import annotations

from dataclasses import dataclass

from everfresh.sources.redis_stream_entries import EntryFields
from everfresh.sources.source import SourceUnavailable
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.failures import described

_RIGHTS = "eval, xinfo, xgroup, xreadgroup, xread, xpending, xrange, xclaim and xack on the stream"


@dataclass(slots=True, kw_only=True)
class Terms:
    """What is consumed, and how."""

    address: Address
    stream: str
    group: str
    fields: EntryFields
    starts_at_all: bool
    claim_after_s: float
    untold: str = ""
    """Why messages may have been lost, until a batch that says so is acknowledged."""

    def unavailable(self, error: Exception) -> SourceUnavailable:
        """The driver's error in words for people."""
        said = str(error)
        place = f"stream {self.stream} at {self.address}"
        if said.startswith("NOGROUP") or "consumer group this client was blocked on" in said:
            return SourceUnavailable(f"{place}: the group {self.group} is gone.")
        if said.startswith("no such key"):
            return SourceUnavailable(f"{place}: the stream is gone.")
        if said.startswith("WRONGTYPE"):
            return SourceUnavailable(f"{place}: another kind of value is stored under this name.")
        if "can't run this command" in said or "ACL failure in script" in said:
            return SourceUnavailable(f"{place}: the user may not do it. It needs {_RIGHTS}.")
        return SourceUnavailable(f"{place}: {str(described(self.address, error)).replace('store URL', 'URL')}")
