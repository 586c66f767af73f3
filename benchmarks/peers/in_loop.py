"""In a loop: a library of which only the decorator knows of event loops, behind the names of an async adapter."""

from collections.abc import Sequence
from typing import Any

from benchmarks.peers.adapter import Adapter


class InLoop(Adapter):
    """To stand before the blocking adapter among the bases."""

    is_async = True

    async def invalidate_call(self, function: Any, *args: Any) -> None:
        super().invalidate_call(function, *args)

    async def get(self, key: str) -> Any:
        return super().get(key)

    async def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        super().put(key, value, tags=tags, expires_s=expires_s)

    async def delete(self, key: str) -> None:
        super().delete(key)

    async def close(self) -> None:
        super().close()
