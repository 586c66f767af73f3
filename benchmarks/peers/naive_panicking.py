"""The naive one that drops everything, whatever it is told. For the tests, as that is."""

from benchmarks.peers.adapter import Place
from benchmarks.peers.naive import Naive


class Panicking(Naive):
    """Right, and of no use."""

    def invalidate_tag(self, tag: str) -> None:
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)


def open_peer(place: Place) -> Panicking:
    """Open it at the place."""
    return Panicking(place.folder)
