"""Room for bodies: how many bytes all requests together may hold, from the first byte until the answer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from everfresh.model.errors import InvalidOption

Grow = Callable[[int], None]
"""Takes so many bytes more, or raises NoRoom."""


class NoRoom(Exception):
    """The requests that are being served hold all that may be held."""


class Room:
    """Counts what all requests hold.

    Raises:
        InvalidOption: `max_bytes` is not above zero.
    """

    def __init__(self, max_bytes: int) -> None:
        if max_bytes <= 0:
            raise InvalidOption(f"max_held_bytes: {max_bytes} holds no request. Use some megabytes.")
        self._max_bytes = max_bytes
        self.n_bytes = 0

    @contextmanager
    def share(self) -> Generator[Grow]:
        """What the block's request may hold: call it with each number of bytes more; all are given back at the end.

        Raises:
            NoRoom: from that call, when there is no room for them.
        """
        n_held = 0

        def grow(n_bytes: int) -> None:
            nonlocal n_held
            if self.n_bytes + n_bytes > self._max_bytes:
                raise NoRoom
            n_held += n_bytes
            self.n_bytes += n_bytes

        try:
            yield grow
        finally:
            self.n_bytes -= n_held
