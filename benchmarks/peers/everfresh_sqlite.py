"""Everfresh, SQLite, in threads."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.everfresh_adapter import Everfresh


def open_peer(place: Place) -> Everfresh:
    """Open it at the place."""
    return Everfresh(f"sqlite:///{place.folder}/cache.db", is_shared=True)
