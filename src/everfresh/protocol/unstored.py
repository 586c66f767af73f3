"""The entry of a build that was not taken: its builder may use it, nobody else."""

from __future__ import annotations

from everfresh.model.entry import Entry, Lease, State
from everfresh.model.position import Position
from everfresh.protocol.requests import Built


def unstored_entry(lease: Lease, built: Built, *, function: str, position: Position, now: float, reason: str) -> Entry:
    """What was built under the lease, as dirty from the start, and good as of no more than what it read."""
    return Entry(
        key=lease.key,
        function=function,
        state=State.DIRTY,
        version=0,
        value=built.value,
        digest=built.digest,
        position=Position(lease.begun.epoch, min(lease.begun.sequence, built.good_from)),
        changed_at=position,
        built_at=now,
        build_s=built.build_s,
        stale_since=now,
        reason=reason,
        is_error=built.is_error,
    )
