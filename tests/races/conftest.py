"""What the races share."""

import pytest

from tests.redis_servers import RedisServer


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    """A kind of store, by its name; Redis by the URL of a server."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("shared_redis")
        return server.url
    return str(request.param)
