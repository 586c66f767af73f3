"""cashews on `redis://`: as in memory, with the values, tags and locks in Redis."""

from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.peers.cashews_memory import Cashews
from benchmarks.peers.redis_records import n_records


class CashewsRedis(Cashews):
    """The same on Redis; errors of the connection are raised rather than passed over."""

    offers = Cashews.offers - {"bounds"} | {"processes"}

    def __init__(self, url: str, *, is_locked: bool, **options: Any) -> None:
        super().__init__(url, is_locked=is_locked, suppress=False, max_connections=64, socket_timeout=10, **options)
        self._url = url

    def n_kept(self) -> int:
        """What the database holds."""
        return n_records(self._url)


def open_peer(place: Place, *, is_locked: bool = True) -> CashewsRedis:
    """All of one database."""
    return CashewsRedis(place.redis_url, is_locked=is_locked)
