"""Everfresh, SQLite, in an event loop."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.everfresh_adapter import EverfreshAsync


def open_peer(place: Place) -> EverfreshAsync:
    """Open it at the place."""
    return EverfreshAsync(f"sqlite:///{place.folder}/cache.db", is_shared=True)
