"""No library at all: what a cache is that somebody wrote in an afternoon. No table shows it.

It is for the tests: a race that this one wins shows nothing. Values stand in files, so that processes share them.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.peers.adapter import MISSING, Adapter, Place


class Naive(Adapter):
    """Look, compute, store; and drop what is there now."""

    offers = frozenset({"function", "manual", "tag", "tag_function", "processes", "bounds", "count"})

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) / "naive"
        self._folder.mkdir(exist_ok=True)
        self._new = Path(folder) / "new"
        self._new.mkdir(exist_ok=True)

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        """Expires never."""
        names = body.__code__.co_varnames

        def calling(*args: Any) -> Any:
            key = _key(body.__name__, args)
            found = self.get(key)
            if found is MISSING:
                found = body(*args)
                values = dict(zip(names, args, strict=False))
                self.put(key, found, tags=[tag.format(**values) for tag in tags])
            return found

        calling.__name__ = body.__name__
        return calling

    def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        self.delete(_key(function.__name__, args))

    def invalidate_tag(self, tag: str) -> None:
        for path in self._folder.iterdir():
            if tag in _read(path)["tags"]:
                path.unlink(missing_ok=True)

    def get(self, key: str) -> Any:
        return _read(self._folder / quote(key, ""))["value"]

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        new = self._new / f"{os.getpid()} {threading.get_ident()}"
        new.write_text(json.dumps({"value": value, "tags": list(tags)}))
        new.replace(self._folder / quote(key, ""))

    def delete(self, key: str) -> None:
        (self._folder / quote(key, "")).unlink(missing_ok=True)

    def n_kept(self) -> int:
        return len(list(self._folder.iterdir()))

    def close(self) -> None:
        """It has nothing to close."""


def open_peer(place: Place) -> Naive:
    """Open it at the place."""
    return Naive(place.folder)


def _key(name: str, args: Sequence[Any]) -> str:
    return re.sub(r"\W+", " ", f"{name} {args}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {"value": MISSING, "tags": ()}
