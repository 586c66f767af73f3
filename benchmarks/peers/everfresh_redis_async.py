"""Everfresh, Redis, in an event loop."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.everfresh_adapter import EverfreshAsync


def open_peer(place: Place, *, is_acknowledged: bool = True) -> EverfreshAsync:
    """Open it at the place; unless it is acknowledged, other processes hear of an invalidation a moment after it."""
    return EverfreshAsync(place.redis_url, is_shared=True, is_acknowledged=is_acknowledged)
