"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.rabbitmq_servers import RabbitServer, rabbitmq_server
from tests.redis_servers import Cluster, RedisServer, new_prefix, redis_cluster, redis_server

# A busy machine is no failure; a test that hangs has the suite's own timeout.
settings.register_profile("everfresh", deadline=None)
settings.load_profile("everfresh")


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """The redis-server of all tests that need no other; without one they skip, or fail where none may be missing."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """A Cluster of six nodes, for all tests that need one that stays well."""
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def shared_rabbitmq() -> Iterator[RabbitServer]:
    """The broker of all tests that do it no harm; without one they skip, or fail where one must not be missing."""
    with rabbitmq_server() as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """A store on the shared server, empty, of this test alone."""
    return f"{shared_redis.url}?prefix={new_prefix()}"
