"""aiocache on `RedisCache`, with its default serializer, JSON.

Its lock is one key in Redis, for `lease` seconds at most; by its documentation "do NOT use this if you need real
resource exclusion". Who waits in another process is not woken.
"""

from urllib.parse import urlsplit

from aiocache import Cache
from benchmarks.peers.adapter import Place
from benchmarks.peers.aiocache_memory import Aiocache
from benchmarks.peers.redis_records import n_records


class AiocacheRedis(Aiocache):
    """The same on Redis."""

    offers = Aiocache.offers | {"processes"}

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        super().__init__(
            cache=Cache.REDIS, endpoint=parts.hostname, port=parts.port, db=int(parts.path.strip("/") or 0)
        )
        self._url = url

    def n_kept(self) -> int:
        """What the database holds."""
        return n_records(self._url)


def open_peer(place: Place) -> AiocacheRedis:
    """All of one database."""
    return AiocacheRedis(place.redis_url)
