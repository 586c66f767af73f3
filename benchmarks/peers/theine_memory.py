"""theine, in threads."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.theine_adapter import Theine


def open_peer(_place: Place) -> Theine:
    """Open it."""
    return Theine()
