"""Identity: which run of a server this process has looked at, so that no other one takes its place unnoticed.

A server that restarts may come back without its last writes, and so may a replica that takes over. Each has another run
id; and one that was somebody's replica in between has the same, but another replication id. Both together name a run.

The driver opens connections whenever it likes; each one asks who answers before anything else is sent on it, and is
refused when it is another run. Then the store looks at the server again, and decides what that means. Connections to
the run that was looked at before may still be open, as the address may lead elsewhere now: they are used no more.
"""

from __future__ import annotations

import re
from typing import Any

from redis import exceptions

from everfresh.model.marks import override

# What a connection is given, to know it by.
_RUN_OF = "everfresh_run_id"
_UNKNOWN = "another run of the server answers than before"
_ASK = ("INFO", "server", "replication")
_RUN_ID = re.compile(rb"^run_id:([0-9a-f]+)", re.MULTILINE)
_REPLICATION_ID = re.compile(rb"^master_replid:([0-9a-f]+)", re.MULTILINE)


def name_of(run_id: str, replication_id: str) -> str:
    """The name of a run; empty when the server does not tell it."""
    return f"{run_id}.{replication_id}" if run_id else ""


class AnotherRun(exceptions.ConnectionError):
    """Another run of the server answers than was looked at last. It answers, so it may be looked at at once."""


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

    def is_of_another(self, connection: Any) -> bool:  # noqa: ANN401 - the driver's connections share no type
        """Whether the connection was opened to another run than the one that was looked at last.

        Raises:
            AnotherRun: nobody has looked yet at whoever answers now, so nothing may be asked.
        """
        run_id = self.run_id
        if not run_id:
            raise AnotherRun(_UNKNOWN)
        return getattr(connection, _RUN_OF, run_id) != run_id

    def greet(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """Open a connection as the driver does, and see who answers."""
        connection.on_connect()
        connection.send_command(*_ASK)
        self._check(connection, connection.read_response())

    async def greet_async(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """The same for a connection of an event loop."""
        await connection.on_connect()
        await connection.send_command(*_ASK)
        self._check(connection, await connection.read_response())

    def _check(self, connection: Any, told: object) -> None:  # noqa: ANN401 - as above
        text = told if isinstance(told, bytes) else str(told).encode()
        found, copied = _RUN_ID.search(text), _REPLICATION_ID.search(text)
        run_id = name_of("" if found is None else found[1].decode(), "" if copied is None else copied[1].decode())
        if self.run_id and run_id != self.run_id:
            self.run_id = ""
            raise AnotherRun(_UNKNOWN)
        setattr(connection, _RUN_OF, run_id)


class _Anybody(Identity):
    @override
    def is_of_another(self, connection: Any) -> bool:
        return False


ANY = _Anybody()
"""Of nobody in particular: whichever server answers will do."""
