"""By TLS: whose certificate is trusted, and whose is not."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.amqp import Amqp
from everfresh.sources.source import SourceUnavailable
from tests.rabbitmq_servers import rabbitmq_server
from tests.redis_servers import HOST, free_port
from tests.sources.rabbit import fetched, start, topics_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: of a broker, of whoever signed it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    broker = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    broker.private_key_pem.write_to_path(folder / "key.pem")
    broker.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """A broker that speaks TLS."""
    port = free_port()
    options = {
        "listeners.ssl.1": f"{HOST}:{port}",
        "ssl_options.cacertfile": str(folder / "ca.pem"),
        "ssl_options.certfile": str(folder / "cert.pem"),
        "ssl_options.keyfile": str(folder / "key.pem"),
        "ssl_options.verify": "verify_none",
    }
    with rabbitmq_server(options):
        yield f"amqps://guest:guest@{HOST}:{port}"


async def comes_back(adapter: Amqp) -> bool:
    """Whether a message goes through."""
    async with adapter.open(start("n.*")) as stream:
        await stream.fetch(1, 0)
        await stream.send(Message(topic="n.1", body=b"{}"))
        return topics_of(await fetched(stream, 1)) == ["n.1"]


async def test_a_broker_whose_signer_is_named_is_trusted(url: str, folder: Path) -> None:
    """By a parameter of the URL, or by a context of one's own."""
    assert await comes_back(Amqp(f"{url}?cafile={folder}/ca.pem", queue="by-url"))
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    assert await comes_back(Amqp(url, queue="by-context", tls=context))


async def test_one_that_is_not_asked_for_its_certificate_is_too(url: str) -> None:
    """For networks where that is decided elsewhere."""
    assert await comes_back(
        Amqp.of_url(SourceUrl(f"{url}?queue=unverified&tls_verify=false"), format="auto", name=None)
    )


async def test_a_broker_that_nobody_vouches_for_is_not_spoken_to(url: str) -> None:
    """Nor is it told the password."""
    with pytest.raises(SourceUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        async with Amqp(url, queue="q").open(start("n.*")):
            pass


def test_a_certificate_of_ones_own_that_is_none_is_refused(folder: Path) -> None:
    """Before anything is connected."""
    with pytest.raises(InvalidOption, match="certificates cannot be read"):
        Amqp(f"amqps://host?cafile={folder}/ca.pem&certfile={folder}/ca.pem", queue="q")
