"""theine, in an event loop."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.theine_adapter import TheineAsync


def open_peer(_place: Place) -> TheineAsync:
    """Open it."""
    return TheineAsync()
