"""The store on Redis, held to the contract."""

import pytest

from everfresh.stores.redis import RedisStore
from everfresh.testing.store_contract import LastingStoreContract, MakeStore, OpenStore
from tests.redis_servers import RedisServer, new_prefix


class TestRedisStore(LastingStoreContract):
    @pytest.fixture
    def open_store(self, redis_url: str) -> OpenStore:
        return lambda clock: RedisStore(redis_url, clock=clock)

    @pytest.fixture
    def make_store(self, shared_redis: RedisServer) -> MakeStore:
        return lambda clock, room: RedisStore(f"{shared_redis.url}?prefix={new_prefix()}", clock=clock, room=room)
