import pytest

from everfresh.asgi import network_of


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix:/tmp/socket", "unix:/tmp/socket"),
        ("", ""),
        ("x" * 1000, "x" * 64),
        (":" * 1000, ":" * 64),
    ],
)
def test_who_sends_is_counted_by_address_or_network(host: str, network: str) -> None:
    """Who has one address of IPv6 has very many."""
    assert network_of(host) == network
