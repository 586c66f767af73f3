"""Everfresh, Redis, in threads."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.everfresh_adapter import Everfresh


def open_peer(place: Place, *, is_acknowledged: bool = True) -> Everfresh:
    """Open it at the place; unless it is acknowledged, other processes hear of an invalidation a moment after it."""
    return Everfresh(place.redis_url, is_shared=True, is_acknowledged=is_acknowledged)
