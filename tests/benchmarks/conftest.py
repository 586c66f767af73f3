"""What the tests of races share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import run

from tests.redis_servers import RedisServer, redis_server

# Less than a test may take: what hangs is to fail with what the child has said.
_WITHIN_S = 55


@pytest.fixture(scope="session")
def own_redis() -> Iterator[RedisServer]:
    """A server of these tests alone: they empty it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def raced(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str, str], dict[str, Any]]:
    """What comes of a scenario with an adapter, at a place where nobody has been, with few repetitions.

    Redis is asked for by the adapters that have it in their name.
    """

    def cells(scenario: str, module: str) -> dict[str, Any]:
        url = ""
        if "redis" in module:
            server: RedisServer = request.getfixturevalue("own_redis")
            with server.client() as client:
                client.flushall()
            url = server.url
        peer = Peer(name=module, module=module, environment="", package="", options="", lacks="")
        place = {"folder": str(tmp_path), "redis_url": url}
        return dict(run(f"races.{scenario}", peer, timeout_s=_WITHIN_S, place=place, is_quick=True))

    return cells
