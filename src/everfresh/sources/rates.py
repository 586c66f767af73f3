"""How often a sender may send: a token bucket for each source, in bounded memory. Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from everfresh.model.errors import InvalidOption

# Seconds are rounded where a clock shows a date: so small a part of a request may be taken ahead, and is owed.
_AHEAD = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests each second from one source, and `burst` of them at once after a pause.

    A source is the address of a client, of IPv6 its network; behind a proxy name the `header` in which that proxy
    writes the address, and only one that it writes itself, or who sends it is whoever they like. The `n_sources` seen
    last are remembered; one that is forgotten may send a burst again.

    Raises:
        InvalidOption: `per_second`, `burst` or `n_sources` is not above zero.
    """

    per_second: float = 100.0
    burst: int = 200
    header: str | None = None
    n_sources: int = 10_000

    def __post_init__(self) -> None:
        for option, value in (("per_second", self.per_second), ("burst", self.burst), ("n_sources", self.n_sources)):
            if not value > 0:
                raise InvalidOption(f"{option}: {value!r} lets nothing in. Use more than zero.")


class Buckets:
    """The buckets of all sources, as the time at which each would be full again."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._interval_s = 1 / rate.per_second
        self._depth_s = rate.burst / rate.per_second
        self._ahead_s = self._interval_s * _AHEAD
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, source: str, now: float) -> float:
        """Take one request out of the source's bucket; if it is empty, nothing, and the seconds until it is not."""
        # A clock that was put back would close a bucket for as long; no bucket is emptier than empty.
        full_at = min(max(self._full_at.get(source, now), now), now + self._depth_s + self._ahead_s)
        left_s = self._depth_s - (full_at - now)
        if left_s < self._interval_s - self._ahead_s:
            return self._interval_s - left_s
        self._full_at[source] = full_at + self._interval_s
        self._full_at.move_to_end(source)
        if len(self._full_at) > self._rate.n_sources:
            self._full_at.popitem(last=False)
        return 0.0
