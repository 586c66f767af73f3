"""A RabbitMQ server for a benchmark."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.report import Report
from scripts.rabbitmq import RabbitProcess, missing
from scripts.server_processes import placed


@contextmanager
def broker(report: Report, name: str) -> Iterator[str | None]:
    """The URL of a broker, which ends with the block; None, and the report says so, when there is none here."""
    if missing():
        report.skip(name, "there is no rabbitmq-server here. Install one: apt-get install rabbitmq-server")
        yield None
        return
    with placed(RabbitProcess) as server:
        server.start()
        yield server.url
