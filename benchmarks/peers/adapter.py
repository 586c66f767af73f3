"""Adapter: one library, used as its documentation says, behind names that all of them share.

Each module of `benchmarks.peers` that is named in the catalogue has `open_peer(place) -> Adapter`. What a library does
not offer is not made up for it: the name is missing in `offers`, and the cell of the table says so.

`cached` hands out what the library's decorator made, with nothing around it, so that a call of it can be measured.
Functions are decorated once for each adapter; their names are the same in each process that shares a place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MISSING: Any = object()
"""What `get` answers when there is nothing."""


@dataclass(frozen=True)
class Place:
    """Where a library may keep what it has; processes that open the same place share it, if the library does."""

    folder: str
    """An empty folder at first."""
    redis_url: str = ""
    """A redis-server, with a database of its own that is empty at first; empty where none is needed."""


class Adapter:
    """What a library offers. Where `is_async`, functions are coroutine functions, and all methods answer awaitables.

    `cached`, `lists` and `n_kept` are plain calls in both colours; they decorate and count.
    """

    is_async = False
    offers: frozenset[str] = frozenset()
    """Of these words:

    `function`: `cached` and `invalidate_call`;
    `manual`: `get`, `put`, `delete`;
    `tag`: `put(tags=)` and `invalidate_tag`; `tag_function`: `cached(tags=)` and `invalidate_tag`;
    `processes`: who opened the same place in another process shares its values, and hears of its invalidations;
    `many`: `get_many`; `many_function`: `call_many`;
    `nested`: by its documentation a cached function that calls another one is touched with it;
    `lists`: `lists` and `item_changed`: it finds by itself which lists a changed item touches;
    `bounds`: it can be told how much it may keep;
    `count`: `n_kept`.
    """

    async def begin(self) -> None:
        """Called once before all else, in the event loop, where `is_async`."""

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        """Decorate the body as an application would, with all that the documentation offers against stampedes.

        `tags` are templates over the body's parameters, which are all positional: `("user:{user_id}",)`.
        A lifetime is asked only of who offers `tag_function`.
        """
        raise NotImplementedError

    def invalidate_call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Drop the value of one call of a decorated function, by the documented way."""
        raise NotImplementedError

    def invalidate_tag(self, tag: str) -> Any:
        """Drop all that has the tag, as it was filled in: `user:7`."""
        raise NotImplementedError

    def get(self, key: str) -> Any:
        """What was put there, or MISSING."""
        raise NotImplementedError

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> Any:
        """Keep a value by hand; the tags are filled in."""
        raise NotImplementedError

    def delete(self, key: str) -> Any:
        """Drop what was put there, by the documented way."""
        raise NotImplementedError

    def get_many(self, keys: Sequence[str]) -> Any:
        """All of them at once: a list in the order of the keys, with MISSING."""
        raise NotImplementedError

    def call_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Call a decorated function of one parameter with each of these at once: a list in their order."""
        raise NotImplementedError

    def lists(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate `load(section, limit)`, the ids of the items of a section whose price is less than the limit."""
        raise NotImplementedError

    def item_changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Any:
        """Tell that an item (id, section, price) was made (no before), changed, or deleted (no after)."""
        raise NotImplementedError

    def n_kept(self) -> int:
        """How many records it keeps, values and what it keeps beside them, by its own or its store's count."""
        raise NotImplementedError

    def close(self) -> Any:
        """End all that runs."""
