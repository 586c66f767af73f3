"""How many bytes an entry takes in a SQLite file beyond its key and its value; each has three dependencies."""

import sqlite3
import tempfile
from pathlib import Path

from benchmarks.filling import fill
from benchmarks.report import Report

from everfresh import Cache, dep


def main(report: Report) -> None:
    """Measure and print."""
    n = 1_000_000 if report.is_full else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.db"
        with Cache(f"sqlite:///{path}", near=0) as cache:
            n_payload = fill(cache, n, dependencies)
        # The last connection that closes writes the log into the file; this makes sure of it.
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        n_bytes = path.stat().st_size
    print(f"\nSize, SQLite, {n:,} entries with 3 dependencies each")
    report.figure("size: the file", n_bytes / 2**20, "MB")
    report.figure("size: keys and values of an entry", n_payload / n, "bytes")
    report.at_most(f"an entry, SQLite, {n:,} of them", (n_bytes - n_payload) / n, 1_200, "bytes beyond key and value")


def dependencies(number: int) -> list[dep.Dependency]:
    """Three, of three kinds, each with many values."""
    return [
        dep.Id("article", number),
        dep.Id("author", number % 5_000),
        dep.Topic("shop.product.*", where={"product.category": f"category {number % 300}"}),
    ]
