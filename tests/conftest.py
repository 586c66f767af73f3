"""What all tests share."""

import os
import sys
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.rabbitmq_servers import RabbitServer, rabbitmq_server
from tests.redis_servers import Cluster, RedisServer, new_prefix, redis_cluster, redis_server

# A busy machine is no failure; a test that hangs has the suite's own timeout.
settings.register_profile("everfresh", deadline=None)
settings.load_profile("everfresh")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the mark `alone` stand in the file of each test that has it: there the Makefile looks for it."""
    for path in {item.path for item in items if item.get_closest_marker("alone")}:
        if "mark.alone" not in path.read_text("utf-8"):
            raise pytest.UsageError(f"{path}: write `pytest.mark.alone` into this file, or `make test` leaves it out.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Count no lines in tests marked so, nor in the processes that they start."""
    is_uncounted = any(map(item.get_closest_marker, ("uncounted", "searching")))
    if not is_uncounted or not type(sys.gettrace()).__module__.startswith("coverage"):
        return (yield)
    tracers = sys.gettrace(), threading.gettrace()
    told = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COV")}
    _trace_by(None, None)
    try:
        return (yield)
    finally:
        _trace_by(*tracers)
        os.environ.update(told)


def _trace_by(here: Any, threads: Any) -> None:  # noqa: ANN401 - what the types of threading say forbids None
    sys.settrace(here)
    threading.settrace(threads)


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
