"""Real RabbitMQ servers for tests.

A server takes some seconds to start, so one is shared by all tests that do not kill it; each has a queue and an
exchange of its own there.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from scripts.rabbitmq import EPMD, SERVER, RabbitProcess
from scripts.server_processes import placed

from tests.needing import need


class RabbitServer(RabbitProcess):
    """One broker, with a look into its files."""

    def n_registered(self, name: str) -> int:
        """How many quorum queues with this beginning are in the register that the broker starts again from."""
        register = next((self.folder / "data").glob("*/quorum/*/names.dets"))
        return register.read_bytes().count(f"%2F_{name}".encode())


@contextmanager
def rabbitmq_server(options: Mapping[str, str] | None = None) -> Iterator[RabbitServer]:
    """A server of one's own, running, its data in a folder that goes with it."""
    need([SERVER, EPMD], for_="AMQP", package="rabbitmq-server")
    with placed(lambda folder: RabbitServer(folder, options, flags="+S 2:2")) as server:
        server.start()
        yield server


def new_queue() -> str:
    """The name of a queue that no other test has."""
    return f"q{secrets.token_hex(6)}"
