"""Identity: which run of a server this process has looked at, so that no other one takes its place unnoticed.

A server that restarts may come back without its last writes, and so may a replica that takes over. Each has another run
id. The driver opens connections whenever it likes; each one asks for the run id before anything else is sent on it, and
is refused when it is another one. Then the store looks at the server again, and decides what that means.
"""

from __future__ import annotations

import re
from typing import Any

from redis import exceptions

_RUN_ID = re.compile(rb"^run_id:([0-9a-f]+)", re.MULTILINE)


class Identity:
    """The run of the server that was looked at last; empty before the first look, and after another one answered."""

    def __init__(self) -> None:
        self.run_id = ""

    @property
    def is_known(self) -> bool:
        """Whether the server was looked at."""
        return bool(self.run_id)

    def forget(self) -> None:
        """Look again before the next step."""
        self.run_id = ""

    def greet(self, connection: Any) -> None:  # noqa: ANN401 - the driver's connections share no type
        """Open a connection as the driver does, and see who answers."""
        connection.on_connect()
        connection.send_command("INFO", "server")
        self._check(connection.read_response())

    async def greet_async(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """The same for a connection of an event loop."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        self._check(await connection.read_response())

    def _check(self, told: object) -> None:
        found = _RUN_ID.search(told if isinstance(told, bytes) else str(told).encode())
        run_id = "" if found is None else found[1].decode()
        if self.run_id and run_id != self.run_id:
            self.run_id = ""
            raise exceptions.ConnectionError("another run of the server answers than before")
