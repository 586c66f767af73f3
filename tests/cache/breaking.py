"""What happens to a store behind the back of those who use it, done by SQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from everfresh.stores.sqlite_bell import Bell


def _execute(url: str, script: str) -> None:
    """Do it, and ring, as whoever writes the file does."""
    path = Path(url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    Bell(path).ring()


@contextmanager
def out_of_order(url: str) -> Iterator[None]:
    """While the block runs no step of the store can be carried out; nothing is lost."""
    _execute(url, "ALTER TABLE entry RENAME TO hidden")
    try:
        yield
    finally:
        _execute(url, "ALTER TABLE hidden RENAME TO entry")


def lose(url: str) -> None:
    """Everything is gone, and another life of the store has begun."""
    _execute(
        url,
        """
        DELETE FROM entry;
        DELETE FROM value;
        DELETE FROM link;
        DELETE FROM fired;
        DELETE FROM shape;
        DELETE FROM feed;
        UPDATE counters SET epoch = 'f00', sequence = 0;
        """,
    )
