"""The naive one that hears nothing: whatever was stored stays. For the tests, as that is."""

from collections.abc import Callable
from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.peers.naive import Naive


class Deaf(Naive):
    """It drops nothing."""

    def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        pass

    def invalidate_tag(self, tag: str) -> None:
        pass

    def delete(self, key: str) -> None:
        pass


def open_peer(place: Place) -> Deaf:
    """Open it at the place."""
    return Deaf(place.folder)
