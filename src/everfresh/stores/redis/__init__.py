"""The store on Redis or Valkey, for processes on many machines."""

from everfresh.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
