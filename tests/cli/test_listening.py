"""Sockets at an address: what they bound, and who may have one there."""

import socket
from collections import Counter
from contextlib import ExitStack, suppress

import pytest

from everfresh.cli.listening import Address, CannotListen, address_of, listen, reserve, share
from everfresh.testing.waiting import until
from tests.needing import ONLY_WHERE_SHARED

ANY_PORT = Address("127.0.0.1", 0)


def test_a_client_that_does_not_read_costs_the_kernel_little() -> None:
    """Connections have the bound from the socket that listens; by itself it grows to megabytes."""
    with listen(ANY_PORT) as listener, socket.create_connection(listener.getsockname()):
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection:
            # The kernel doubles what it is told, for its own part.
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 65_536
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@ONLY_WHERE_SHARED
def test_whoever_reserved_an_address_may_share_it() -> None:
    """With as many as they like; and who only listens may not have it."""
    with reserve(ANY_PORT) as reserved:
        address = address_of(reserved)
        with share(address) as one, share(address) as other:
            one.listen()
            other.listen()
            with pytest.raises(CannotListen, match="in use"):
                listen(address)

    assert address.port


@ONLY_WHERE_SHARED
def test_an_address_that_is_shared_already_is_not_reserved_again() -> None:
    """Two applications would answer in turn."""
    with reserve(ANY_PORT) as reserved, share(address_of(reserved)) as one:
        one.listen()
        with pytest.raises(CannotListen, match="in use"):
            reserve(address_of(reserved))


@ONLY_WHERE_SHARED
def test_four_share_connections_within_a_tenth() -> None:
    """The kernel draws one of them for each connection."""
    n, n_at_once = 10_000, 500
    shares: Counter[int] = Counter()
    with reserve(ANY_PORT) as reserved, ExitStack() as stack:
        sockets = [stack.enter_context(share(address_of(reserved))) for _ in range(4)]
        for one in sockets:
            one.listen(n_at_once)
        for n_begun in range(n_at_once, n + 1, n_at_once):
            with ExitStack() as clients:
                for _ in range(n_at_once):
                    clients.enter_context(socket.create_connection(reserved.getsockname()))
                until(lambda n_begun=n_begun: n_taken(sockets, shares) == n_begun, what="all that came")

    # A tenth is almost six times the deviation of a fair draw: one run in thirty million fails by chance.
    assert all(abs(share - n / 4) <= n / 40 for share in shares.values()), shares


def n_taken(sockets: list[socket.socket], shares: Counter[int]) -> int:
    """How many have been served in all, after those that are waiting were; each is let go."""
    for number, one in enumerate(sockets):
        with suppress(BlockingIOError):
            while True:
                one.accept()[0].close()
                shares[number] += 1
    return shares.total()


@ONLY_WHERE_SHARED
def test_nobody_is_served_by_who_only_reserves() -> None:
    """A client would wait for ever."""
    with reserve(ANY_PORT) as reserved, pytest.raises(ConnectionRefusedError):
        socket.create_connection(reserved.getsockname())
