"""A store whose server speaks TLS: certificates are checked, in both colours, and in the follower's thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from everfresh import Cache, dep
from everfresh.model.errors import StoreUnavailable
from tests.redis_servers import HOST, free_port, redis_server


@dataclass(frozen=True)
class Secured:
    """A server's port for TLS, and the files that a client needs."""

    port: int
    authority: Path
    of_client: Path

    def url(self, **options: object) -> str:
        """For a store on it."""
        return f"rediss://{HOST}:{self.port}/0?" + "&".join(f"{name}={value}" for name, value in options.items())


@pytest.fixture(params=["no", "yes"], ids=["any client", "clients with certificates"])
def asks_clients(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def secured(tmp_path: Path, asks_clients: str) -> Iterator[Secured]:
    """A server with a certificate of an authority that nobody else knows."""
    authority = trustme.CA()
    of_authority, of_server, of_client = (tmp_path / f"{name}.pem" for name in ("authority", "server", "client"))
    authority.cert_pem.write_to_path(of_authority)
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(of_server)
    authority.issue_cert("somebody@example.org").private_key_and_cert_chain_pem.write_to_path(of_client)
    port = free_port()
    options: dict[str, str | int] = {
        "tls-port": port,
        "tls-cert-file": str(of_server),
        "tls-key-file": str(of_server),
        "tls-ca-cert-file": str(of_authority),
        "tls-auth-clients": asks_clients,
    }
    with redis_server(options):
        yield Secured(port, of_authority, of_client)


def files_of(secured: Secured, asks_clients: str) -> dict[str, object]:
    """What a client has to name."""
    own = {"ssl_certfile": secured.of_client, "ssl_keyfile": secured.of_client} if asks_clients == "yes" else {}
    return {"ssl_ca_certs": secured.authority, **own}


async def test_a_cache_works_over_tls(secured: Secured, asks_clients: str) -> None:
    """Coroutines, threads, and news for near caches."""
    built = {"sync": 0, "async": 0}
    with Cache(secured.url(**files_of(secured, asks_clients))) as cache:

        @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
        def article(number: int) -> int:
            built["sync"] += 1
            return built["sync"]

        @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
        async def heading(number: int) -> int:
            built["async"] += 1
            return built["async"]

        assert (article(1), article(1), await heading(1), await heading(1)) == (1, 1, 1, 1)
        await cache.invalidate(dep.Id("article", 1), acknowledged=True)
        assert (article.fresh(1), await heading.fresh(1)) == (2, 2)


@pytest.mark.parametrize("asks_clients", ["no"], indirect=True)
def test_a_certificate_of_an_unknown_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    """The message says what is to be named."""
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    url = secured.url(ssl_ca_certs=stranger)
    with Cache(url) as cache, pytest.raises(StoreUnavailable, match="ssl_ca_certs="):
        cache.blocking.put("k", 1)


@pytest.mark.parametrize("asks_clients", ["no"], indirect=True)
def test_a_certificate_need_not_be_checked(secured: Secured) -> None:
    """Where the URL says so."""
    with Cache(secured.url(ssl_cert_reqs="none")) as cache:
        cache.blocking.put("k", 1, dep.Tag("t"))

        assert cache.blocking.get("k") == 1


@pytest.mark.parametrize("asks_clients", ["yes"], indirect=True)
def test_a_client_without_its_certificate_is_refused(secured: Secured) -> None:
    """The server asks for one."""
    with Cache(secured.url(ssl_ca_certs=secured.authority)) as cache, pytest.raises(StoreUnavailable):
        cache.blocking.put("k", 1)
