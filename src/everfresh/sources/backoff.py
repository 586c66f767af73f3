"""Backoff: how long to wait before the next try. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from everfresh.model.clock import Dice

# Further doublings reach every bound.
_MAX_DOUBLINGS = 30


@dataclass(slots=True)
class Backoff:
    """Waits that double with each failure up to a bound, each anything from nothing to that (full jitter).

    So many who failed at once do not come back at once.
    """

    first_s: float
    most_s: float
    dice: Dice
    n_failed: int = field(default=0, init=False)

    def next_s(self) -> float:
        """Another try failed: wait so many seconds."""
        wait_s = min(self.most_s, self.first_s * 2.0 ** min(self.n_failed, _MAX_DOUBLINGS))
        self.n_failed += 1
        return wait_s * self.dice()

    def reset(self) -> None:
        """A try succeeded."""
        self.n_failed = 0
