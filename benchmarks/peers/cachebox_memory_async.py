"""cachebox, in an event loop."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.cachebox_adapter import CacheboxAsync


def open_peer(_place: Place) -> CacheboxAsync:
    """Open it."""
    return CacheboxAsync()
