"""How many bytes an entry takes, with its key and a value of 100 bytes, with no tags and with three.

In memory it is what the process grows by, which counts what is written in other languages too; of a file its length; of
Redis what the server says it uses. The limit is the same in a dict, a table or plain keys.
"""

import gc
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.rows.limits import RedisLimit
from benchmarks.rows.session import Session

_N_ENTRIES_OF = {"memory": 10_000, "files": 2_000, "redis": 2_000}
_N_TAGS = 500
_N_VALUE_BYTES = 100


def main(peer: Any, **place: str) -> dict[str, Any]:
    """Measure the limit first, and keep it, so that nobody takes memory that another gave back."""
    session = Session(peer, **place)
    n = _N_ENTRIES_OF[session.store]
    for n_tags in (0, 3):
        name = f"with {n_tags} tags"
        if not session.needs(name, "manual", *(["tag"] if n_tags else [])):
            continue
        try:
            _keep(session, _put(session), "first", 100, n_tags)
        except NotImplementedError:
            session.answer.empty[name] = f"offers no put with {n_tags} tags"
            continue
        _keep(session, session.limit.write, "limit first", 100, n_tags)
        before = _used_bytes(session)
        _keep(session, session.limit.write, f"limit {name}", n, n_tags)
        between = _used_bytes(session)
        _keep(session, _put(session), name, n, n_tags)
        session.answer.figures[name] = (_used_bytes(session) - between) / n
        session.answer.limits[name] = (between - before) / n
    return session.end()


def _keep(session: Session, keep: Callable[..., Any], prefix: str, n: int, n_tags: int) -> None:
    """Keys, values and tags are made as they are kept: what somebody else holds anyway would be kept for nothing."""
    session.timed_each(keep, (_entry(prefix, number, n_tags) for number in range(n)))(n)


def _entry(prefix: str, number: int, n_tags: int) -> tuple[str, str, list[str]]:
    tags = [f"{prefix} tag {(number * 7 + k) % _N_TAGS}" for k in range(n_tags)]
    return f"{prefix} {number}", f"value {number}".ljust(_N_VALUE_BYTES), tags


def _put(session: Session) -> Any:
    def put(key: str, value: str, tags: list[str]) -> Any:
        return session.adapter.put(key, value, tags=tags) if tags else session.adapter.put(key, value)

    return put


def _file_bytes(path: Path) -> int:
    # Else the log counts, which is as long as it once had to be.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def _used_bytes(session: Session) -> int:
    if session.store == "files":
        return sum(_file_bytes(path) for path in Path(session.place.folder).rglob("*.db"))
    if session.store == "redis":
        asking = RedisLimit(session.place.redis_url)
        lines = asking.ask(("INFO", "memory"))[0].decode().splitlines()
        asking.close()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(told["used_memory"]) - int(told["mem_clients_normal"])
    gc.collect()
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * os.sysconf("SC_PAGE_SIZE")
