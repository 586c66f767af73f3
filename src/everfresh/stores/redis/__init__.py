"""The store on Redis or Valkey, for processes on many machines."""

from everfresh.stores.redis.addresses import SCHEMES, address_of
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.store import RedisStore

__all__ = ["SCHEMES", "RedisStore", "ShardedStore", "address_of"]
