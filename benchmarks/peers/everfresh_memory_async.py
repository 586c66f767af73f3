"""Everfresh, memory, in an event loop."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.everfresh_adapter import EverfreshAsync


def open_peer(_place: Place) -> EverfreshAsync:
    """Open it at the place."""
    return EverfreshAsync("memory:", is_shared=False)
