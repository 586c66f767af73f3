"""How many records a Redis database holds: what stands in sets, hashes and the like counts, each member one."""

from typing import Any

from redis import Redis

_SIZE_OF = {"set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "list": "LLEN", "stream": "XLEN"}


def n_records(url: str) -> int:
    """Keys of plain values, and members of all others.

    With a Redis client of whatever version the environment has.
    """
    client: Any = Redis.from_url(url)
    keys = list(client.scan_iter(count=1_000))
    n_found = 0
    for start in range(0, len(keys), 1_000):
        part = keys[start : start + 1_000]
        kinds = _asked(client, [("TYPE", key) for key in part])
        sized = [
            (_SIZE_OF[name], key)
            for key, kind in zip(part, kinds, strict=True)
            if (name := kind.decode() if isinstance(kind, bytes) else kind) in _SIZE_OF
        ]
        # A key may have expired in between; then it has no size.
        n_found += len(part) - len(sized) + sum(_asked(client, sized))
    client.close()
    return n_found


def _asked(client: Any, commands: list[tuple[str, bytes]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(pipeline.execute())
