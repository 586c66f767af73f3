"""dogpile.cache on a dict of the process."""

from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.peers.dogpile_adapter import Dogpile


class DogpileMemory(Dogpile):
    """Its memory backend; one dict for all regions."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        super().__init__(self._configured)

    def _configured(self, region: Any, expires_s: float | None) -> Any:
        return region.configure("dogpile.cache.memory", expires_s, arguments={"cache_dict": self._kept})

    def n_kept(self) -> int:
        return len(self._kept)


def open_peer(_place: Place) -> DogpileMemory:
    """Open it."""
    return DogpileMemory()
