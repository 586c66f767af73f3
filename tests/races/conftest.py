"""What the races share."""

import pytest

from tests.races.world import N_SHARDS
from tests.redis_servers import RedisServer


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    """A kind of store, by its name; Redis by the URL of a server, with the number of shards if it is to have some."""
    if request.param in {"redis", "shards"}:
        server: RedisServer = request.getfixturevalue("shared_redis")
        return f"{server.url}?shards={1 if request.param == 'redis' else N_SHARDS}"
    return str(request.param)
