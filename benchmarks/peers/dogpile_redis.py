"""dogpile.cache on Redis, with its distributed lock, so that one process builds.

The lock times out: the death of who holds it would else lock the key for ever. What a region lets expire, Redis removes
a little later, as the documentation recommends.
"""

from typing import Any

import redis
from benchmarks.peers.adapter import Place
from benchmarks.peers.dogpile_adapter import Dogpile

_LOCK_S = 10


class DogpileRedis(Dogpile):
    """Its Redis backend."""

    offers = Dogpile.offers | {"processes"}

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__(self._configured)

    def _configured(self, region: Any, expires_s: float | None) -> Any:
        arguments = {"url": self._url, "distributed_lock": True, "thread_local_lock": False, "lock_timeout": _LOCK_S}
        if expires_s is not None:
            arguments["redis_expiration_time"] = int(expires_s) + 1
        return region.configure("dogpile.cache.redis", expires_s, arguments=arguments)

    def n_kept(self) -> int:
        with redis.Redis.from_url(self._url) as client:
            return int(client.dbsize())


def open_peer(place: Place) -> DogpileRedis:
    """Open it at the place."""
    return DogpileRedis(place.redis_url)
