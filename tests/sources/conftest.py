"""What tests of several sources ask for."""

import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rabbitmq_servers import RabbitServer, new_queue
from tests.sources.rabbit import exchange_named


@pytest.fixture
def amqp_url(shared_rabbitmq: RabbitServer) -> str:
    """The RabbitMQ of all tests that do it no harm."""
    return shared_rabbitmq.url


@pytest.fixture
async def exchange(amqp_url: str) -> AsyncIterator[str]:
    """A topic exchange on it, of this test alone."""
    name = new_queue()
    async with exchange_named(amqp_url, name):
        yield name


@pytest.fixture
def quiet() -> Iterator[None]:
    """No noise of what a test provokes."""
    logger = logging.getLogger("everfresh.sources")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)
