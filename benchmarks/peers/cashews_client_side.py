"""cashews on `redis://` with `client_side=True`: values are held in the process, and Redis says which changed.

By its documentation the way to use tags: "please use it with the client side feature". It hears of changes by RESP2
only, and newer clients of Redis speak RESP3 unless they are told: so `protocol=2`, which it hands on to the client.
"""

from benchmarks.peers.adapter import Place
from benchmarks.peers.cashews_redis import CashewsRedis


def open_peer(place: Place, *, is_locked: bool = True) -> CashewsRedis:
    """All of one database."""
    return CashewsRedis(place.redis_url, is_locked=is_locked, client_side=True, protocol=2)
