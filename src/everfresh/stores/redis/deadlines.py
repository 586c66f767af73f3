"""Deadlines: until when a step may begin, by the server's clock.

    sent ──reaches the server in time──▶ carried out
      └──too late: whoever asked has given it up──▶ refused, with the server's time ──▶ sent anew if somebody waits

A server that stands still, and a network that does, keeps what was sent. When they go on it arrives, and nobody waits
for it any more: it would take leases that nobody works on, and put values after newer ones. So whoever sends a step
says when it is too late for it; what is refused was not done.

The server's time comes with the answers, and is known as well as the answer was quick. Where it is wrong, as somebody
has set the server's clock, a step is refused once too often and told the right time, or late once by that much.
"""

from __future__ import annotations

from redis import exceptions

# The first word of the refusal; main.lua says it.
LATE = "LATE"
# Before every time that a server tells: whatever was not done by then will not be.
NEVER = 0.0


class ServerClock:
    """What the server's clock says, reckoned from this process's monotonic one; safe from every thread."""

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        # By how much it is ahead, at least and at most.
        self._ahead: tuple[float, float] | None = None

    def note(self, asked_at: float, told: float, answered_at: float) -> None:
        """It said `told` at some moment between the two."""
        low, high = told - answered_at, told - asked_at
        known = self._ahead
        # What contradicts this was so before one of the clocks was set, or both had run apart.
        if known is not None and low <= known[1] and known[0] <= high:
            low, high = max(low, known[0]), min(high, known[1])
        self._ahead = low, high

    def not_after(self, moment: float) -> float | None:
        """What it says at the moment, or a little before; None when it was never told."""
        return None if self._ahead is None else self._ahead[0] + moment


def time_of_refusal(error: Exception) -> float | None:
    """The server's time, if it refused the step as being too late; None if it is about something else."""
    if not isinstance(error, exceptions.ResponseError):
        return None
    word, _, told = str(error).partition(" ")
    return float(told) if word == LATE else None
