"""cachebox, in threads."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.cachebox_adapter import Cachebox


def open_peer(_place: Place) -> Cachebox:
    """Open it."""
    return Cachebox()
