"""Everfresh, memory, in threads."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.everfresh_adapter import Everfresh


def open_peer(_place: Place) -> Everfresh:
    """Open it at the place."""
    return Everfresh("memory:", is_shared=False)
