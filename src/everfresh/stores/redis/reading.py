"""Commands in one packet, on a connection of the driver's pool, and their replies.

The driver's own way costs twenty microseconds more than what it carries, and its pipelines ten: a third of a hit.
"""

from __future__ import annotations

from typing import Any

from redis import exceptions


def replies_to(client: Any, question: bytes, n_replies: int = 2) -> list[Any]:  # noqa: ANN401 - the driver's clients share no type
    """The replies to all commands of the question. Raises the driver's errors."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command((question,))
        replies: list[Any] = []
        failed: exceptions.ResponseError | None = None
        for _ in range(n_replies):
            try:
                replies.append(connection.read_response())
            except exceptions.ResponseError as error:
                # Those that follow have to be read too.
                failed = failed or error
    except BaseException:
        # What is left of the replies would be taken for the next command's.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    if failed is not None:
        raise failed
    return replies
