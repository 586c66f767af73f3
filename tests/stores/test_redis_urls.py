"""URLs of the store on Redis: what they name, and what is said of those that name nothing."""
# ruff: noqa: S105, S106 - these passwords open nothing

import pytest

from everfresh.model.errors import StoreUrlInvalid
from everfresh.stores.redis.addresses import Address, address_of
from everfresh.stores.urls import open_store

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("redis://db", Address(kind="server", hosts=(("db", 6379),)), id="defaults"),
        pytest.param("redis://db:1/2", Address(kind="server", hosts=(("db", 1),), db=2), id="port and database"),
        pytest.param("redis://[::1]:1", Address(kind="server", hosts=(("::1", 1),)), id="IPv6"),
        pytest.param(
            "redis://:p%2Fw%40@db?prefix=shop&shards=1",
            Address(kind="server", hosts=(("db", 6379),), password="p/w@", prefix="shop"),
            id="password and prefix",
        ),
        pytest.param(
            "rediss://me:pw@db?ssl_cert_reqs=none",
            Address(kind="server", hosts=(("db", 6379),), username="me", password="pw", tls={"ssl_cert_reqs": "none"}),
            id="TLS",
        ),
        pytest.param("unix:///run/r%20s.sock", Address(kind="socket", path="/run/r s.sock"), id="socket"),
        pytest.param(
            "unix://:pw@/r.sock?db=3",
            Address(kind="socket", path="/r.sock", db=3, password="pw"),
            id="socket, all of it",
        ),
        pytest.param(
            "redis+sentinel://a,b:2/store/1?sentinel_password=x",
            Address(kind="sentinel", hosts=(("a", 26379), ("b", 2)), service="store", db=1, sentinel_password="x"),
            id="Sentinels",
        ),
        pytest.param("redis+cluster://a:1,b", Address(kind="cluster", hosts=(("a", 1), ("b", 6379))), id="Cluster"),
        pytest.param(
            "rediss+cluster://a", Address(kind="cluster", hosts=(("a", 6379),), tls={}), id="Cluster with TLS"
        ),
    ],
)
def test_a_url_names_an_address(url: str, address: Address) -> None:
    """Everything that it leaves out has one meaning."""
    assert address_of(url) == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        pytest.param("redis:db", "cannot be read", id="no slashes"),
        pytest.param("redis://", "names no host", id="no host"),
        pytest.param("redis://db:x", "names no host, or a port", id="a port that is no number"),
        pytest.param("redis://db:99999", "names no host, or a port", id="a port that is none"),
        pytest.param("redis://[::1", "cannot be read", id="half an IPv6 address"),
        pytest.param("redis://a,b", "one server is one host", id="two servers"),
        pytest.param("redis://db/one", "the database is a number", id="a database with a name"),
        pytest.param("redis://db/1/2", "the database is a number", id="two databases"),
        pytest.param("redis://db/1?db=2", "the database is a number", id="a database twice"),
        pytest.param("redis://db?shards=x", "shards is a whole number", id="shards that are no number"),
        pytest.param("redis://db?shards=0", "shards is a whole number", id="no shards"),
        pytest.param("redis://db?shards=257", "from 1 to 256", id="too many shards"),
        pytest.param("redis://db?prefix=", "prefix is a short name", id="no prefix"),
        pytest.param("redis://db?prefix={x}", "prefix is a short name", id="a prefix that would choose the slot"),
        pytest.param("redis://db?timeout=1", "no option 'timeout'", id="an unknown option"),
        pytest.param("redis://db?ssl_cert_reqs=none", "no option 'ssl_cert_reqs'", id="TLS's option without TLS"),
        pytest.param("rediss://db?ssl_cert_reqs=x", "'required' or 'none'", id="a check that is none"),
        pytest.param("redis://db?prefix=a&prefix=b", "twice", id="an option twice"),
        pytest.param("redis://db?prefix", "not name=value", id="an option without a value"),
        pytest.param("redis://db#1", "cannot be read", id="a fragment"),
        pytest.param("unix://", "path of the socket", id="no socket"),
        pytest.param("redis+sentinel://a", "name of the service", id="no service"),
        pytest.param("redis+cluster://a/1", "no other database", id="a Cluster's database"),
    ],
)
def test_a_bad_url_is_refused(url: str, problem: str) -> None:
    """The message says what is wrong with it and shows one that is right."""
    with pytest.raises(StoreUrlInvalid, match=problem) as caught:
        open_store(url)

    assert "Use for example '" in str(caught.value)


@pytest.mark.parametrize(
    "url", [f"redis://:{SECRET}@db/x", f"redis://:{SECRET}/x@db", f"redis+cluster://u:{SECRET}@db?x=1"]
)
def test_no_password_is_shown(url: str) -> None:
    """Not of a URL that is refused, and not of an address."""
    with pytest.raises(StoreUrlInvalid) as caught:
        open_store(url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"redis://:{SECRET}@db:1/2", "db:1/2"),
        (f"redis://:{SECRET}@[::1]:1", "[::1]:1/0"),
        (f"unix://:{SECRET}@/r.sock", "/r.sock (database 0)"),
        (f"redis+sentinel://:{SECRET}@a:1,b:2/store", "store (database 0) of the Sentinels a:1,b:2"),
        (f"redis+cluster://:{SECRET}@a:1", "the Cluster at a:1"),
    ],
)
def test_an_address_is_told_without_its_password(url: str, text: str) -> None:
    """As it stands in errors and logs."""
    address = address_of(url)

    assert str(address) == text
    assert SECRET not in repr(address)
