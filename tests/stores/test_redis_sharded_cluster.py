"""Shards over the nodes of a Cluster, held to the contract."""

import pytest

from everfresh.stores.redis.sharded import ShardedStore
from everfresh.testing.store_contract import OpenStore, StoreContract
from tests.redis_servers import Cluster, new_prefix
from tests.stores.test_redis_sharded import N_SHARDS, OTHERWISE

pytestmark = [pytest.mark.uncounted, pytest.mark.timeout(120)]


class TestShardedCluster(StoreContract):
    @pytest.fixture(autouse=True)
    def otherwise(self, request: pytest.FixtureRequest) -> None:
        """Pass over what is otherwise with several shards."""
        name = request.node.name.partition("[")[0]
        if name in OTHERWISE:
            pytest.skip(OTHERWISE[name])

    @pytest.fixture
    def open_store(self, shared_cluster: Cluster) -> OpenStore:
        prefix = new_prefix()
        return lambda clock: ShardedStore(f"{shared_cluster.url}?prefix={prefix}", N_SHARDS, clock=clock)
