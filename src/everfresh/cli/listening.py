"""Listening: addresses as people write them, and the sockets there.

Processes that serve one address side by side have each a socket of their own there, where the kernel shares connections
among these (Linux): evenly, and a process that dies takes nobody's turn. One socket for all of them is emptied by
whoever is quickest, which for streams, that stay, was measured as 145 : 3,855.
"""

from __future__ import annotations

import importlib
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

_BACKLOG = 1024
_LAST_PORT = 65_535
# What the kernel keeps for a client that does not read: by itself that grows to megabytes of stale frames.
_SEND_BUFFER_BYTES = 65_536
# A client that takes nothing of what it was sent, not even word that it is there, is gone.
_NO_PROGRESS_MS = 30_000


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that `HOST:PORT` or `[HOST]:PORT` writes.

        Raises:
            ValueError: it writes none.
        """
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        if not host or not port.isdecimal() or int(port) > _LAST_PORT:
            raise ValueError(f"{text!r} is no address. Write HOST:PORT, for example 127.0.0.1:8000.")
        return cls(host, int(port))


class CannotListen(Exception):
    """Another program listens at the address, or this user or machine may not have it."""


def listen(address: Address) -> socket.socket:
    """A socket that listens at the address.

    Raises:
        CannotListen: it cannot be had.
    """
    return _bound(address, is_shared=False, is_listening=True)


def share(address: Address) -> socket.socket:
    """A socket at an address that is `reserve`d; it listens as soon as its server starts.

    Raises:
        CannotListen: it cannot be had.
    """
    return _bound(address, is_shared=True, is_listening=False)


def reserve(address: Address) -> socket.socket:
    """Have the address for processes of ours that share it, as long as the socket is open.

    Raises:
        CannotListen: it cannot be had, or another program has it, though that shares it too.
    """
    with _bound(address, is_shared=False, is_listening=True) as alone:
        port: int = alone.getsockname()[1]
    return _bound(Address(address.host, port), is_shared=True, is_listening=False)


def can_share() -> bool:
    """Whether processes can have a socket each, among which the kernel shares connections."""
    return sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")


def raise_limit() -> None:
    """Have as many connections at once as this process may: each is an open file, and the usual bound is 1,024."""
    with suppress(ImportError, OSError, ValueError):  # there is none, or it may not be that high
        resource = importlib.import_module("resource")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def address_of(listener: socket.socket) -> Address:
    """Where the socket is."""
    return Address(*cast("tuple[str, int]", listener.getsockname()[:2]))


def _bound(address: Address, *, is_shared: bool, is_listening: bool) -> socket.socket:
    made: socket.socket | None = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        # Only a socket that says it is TCP gets TCP_NODELAY from asyncio; without, answers lie 40 ms in the kernel.
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections have these from the socket that listens.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _NO_PROGRESS_MS)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(place)
        if is_listening:
            made.listen(_BACKLOG)
        made.settimeout(0)  # never blocks
    except OSError as error:
        if made is not None:
            made.close()
        problem = f"{address.host}:{address.port}: {error.strerror or error}. Name another address."
        raise CannotListen(problem) from error
    return made


def url_of(listener: socket.socket) -> str:
    """Where the socket is reached."""
    host, port = cast("tuple[str, int]", listener.getsockname()[:2])
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
