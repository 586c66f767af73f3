"""FakeClock: time that moves only when a test says so."""

from __future__ import annotations


class FakeClock:
    """Seconds since 1970, standing still until they are moved; takes the place of any `Clock`."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        """What the clock says."""

    def __call__(self) -> float:
        """What the clock says."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; a negative number sets the clock back, as people and time servers do."""
        self.now += seconds
