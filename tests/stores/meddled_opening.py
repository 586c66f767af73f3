"""A process that makes a store while another program tries to write to the new file: `python -m ... PATH`.

It prints what that program was told at the moment at which the tables are about to be made.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from everfresh.stores.sqlite import SqliteStore


def main(path: Path) -> None:
    """Make the store."""

    def meddle(event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or not str(arguments[0]).endswith("schema.sql"):
            return
        with closing(sqlite3.connect(path, timeout=0)) as other:
            try:
                other.execute("CREATE TABLE theirs (a)")
                sys.stdout.write("done\n")
            except sqlite3.OperationalError as error:
                sys.stdout.write(f"{error}\n")

    sys.addaudithook(meddle)
    SqliteStore(path).close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
