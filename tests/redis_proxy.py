"""A connection to a server that can be cut where it hurts: after a command arrived, before its answer comes back."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scripts.server_processes import HOST

__all__ = ["HOST", "Proxy", "proxy_to"]

_BLOCK = 65_536


class Proxy:
    """Passes everything on to the server, until it is told to cut."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self.n_lost = 0
        """How many answers were lost."""
        self._cuts: list[bytes] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer_to(self, *commands: bytes) -> None:
        """Cut the connection when the answer comes to a command that has these words in it, once for each of them."""
        self._cuts.extend(commands)

    def lead_to(self, server_port: int, *, cut: bool = True) -> None:
        """From now on another server answers there; those that are connected are cut off, or stay where they are."""
        self._server_port = server_port
        if cut:
            self.cut()

    def cut(self) -> None:
        """Cut all connections."""
        opened, self._open = self._open, []
        for one in opened:
            _end(one)

    def close(self) -> None:
        """Cut everything, and take no more."""
        for one in (self._listener, *self._open):
            _end(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self._server_port))
                except OSError:
                    _end(client)
                    continue
                self._open += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        cut = threading.Event()
        threading.Thread(target=self._pass_back, args=(client, server, cut), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(_BLOCK):
                for words in self._cuts:
                    if words in data:
                        self._cuts.remove(words)
                        cut.set()
                        break
                server.sendall(data)
        _end(server)

    def _pass_back(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(_BLOCK):
                if cut.is_set():
                    self.n_lost += 1
                    break
                client.sendall(data)
        _end(client)
        _end(server)


@contextmanager
def proxy_to(server_port: int) -> Iterator[Proxy]:
    """A proxy, while the block runs."""
    proxy = Proxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
