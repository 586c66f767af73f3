"""Listening: addresses as people write them, and the sockets there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import cast

_BACKLOG = 1024
_LAST_PORT = 65_535


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
    made: socket.socket | None = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        # Only a socket that says it is TCP gets TCP_NODELAY from asyncio; without, answers lie 40 ms in the kernel.
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
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
