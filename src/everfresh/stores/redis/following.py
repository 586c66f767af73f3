"""Following: the request of a follower, which passes on how far it has told, and is given what came since."""

from __future__ import annotations

from dataclasses import dataclass

from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch, Request

SUBSCRIPTION_LEASE_S = 1.0
"""For how long after it was heard of a follower is waited for, and may use what it holds near."""


@dataclass(frozen=True, slots=True)
class Follow(Request[FeedBatch]):
    """Renew the lease of the follower `id`, which has told of everything up to `told`; None when it begins."""

    id: str
    told: Position | None
    n_max: int
