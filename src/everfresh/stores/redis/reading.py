"""Lines: connections of a blocking client, kept ready; commands in one packet go there, and their replies come back.

The driver's own way costs thirty microseconds more than what it carries: half of them to take a connection out of its
pool and to put it back; its pipelines are no cheaper. So connections stay out of the pool while they are sound. One
that was cut while nobody used it shows that when it is used: as an error, as if it had been cut then.
"""

from __future__ import annotations

from typing import Any

from redis import exceptions

from everfresh.stores.redis.identity import ANY, Identity


class Lines:
    """All lines of a client of the driver; safe from every thread."""

    def __init__(self, client: Any, identity: Identity = ANY) -> None:  # noqa: ANN401 - the driver's clients share no type
        self._pool: Any = client.connection_pool
        self._identity = identity
        self._idle: list[Any] = []

    def ask(self, commands: bytes, n_replies: int = 1) -> list[Any]:
        """The replies to the commands, of the run that was looked at. Raises the driver's errors."""
        replies, failed = self._read(self.begin(commands), n_replies)
        if failed is not None:
            raise failed
        return replies

    def begin(self, commands: bytes) -> Any:  # noqa: ANN401 - as above
        """Send the commands; whoever does so goes on to `end` with what this answers. Raises the driver's errors."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.get_connection()
        try:
            if self._identity.is_of_another(connection):
                connection.disconnect()
                connection.connect()
            connection.send_packed_command((commands,), check_health=False)
        except BaseException:
            self.drop(connection)
            raise
        return connection

    def end(self, connection: Any, n_replies: int) -> list[Any]:  # noqa: ANN401 - as above
        """The replies, with errors of the server among them where it replied so. Raises the driver's other errors."""
        replies, _ = self._read(connection, n_replies)
        return replies

    def _read(self, connection: Any, n_replies: int) -> tuple[list[Any], Exception | None]:  # noqa: ANN401 - as above
        replies: list[Any] = []
        failed: Exception | None = None
        try:
            for _ in range(n_replies):
                try:
                    replies.append(connection.read_response())
                except exceptions.ResponseError as error:
                    # Those that follow have to be read too.
                    failed = failed or error
                    replies.append(error)
        except BaseException:
            # What is left of the replies would be taken for the next command's.
            self.drop(connection)
            raise
        self.keep(connection)
        return replies, failed

    def keep(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """Have a line ready whose replies were all read."""
        self._idle.append(connection)

    def forget_idle(self) -> None:
        """Close the lines that nobody uses."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                # Somebody else uses it now.
                return
            self.drop(connection)

    def drop(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """Close a line on which replies may still come."""
        connection.disconnect()
        self._pool.release(connection)
