"""BlockingCache: a cache's methods for synchronous code."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from everfresh.cache.drivers import BlockingDriver
from everfresh.cache.operations import Operations
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Entry, Key
from everfresh.model.event import Event
from everfresh.model.position import Position


class BlockingCache:
    """The same methods as the cache's, without `await`; safe from every thread."""

    def __init__(self, driver: BlockingDriver, operations: Operations) -> None:
        self._driver = driver
        self._operations = operations

    def publish(self, *events: Event) -> Position:
        """See `Cache.publish`."""
        return self._driver.run(self._operations.publish(events))

    def invalidate(self, *dependencies: Dependency) -> Position:
        """See `Cache.invalidate`."""
        return self._driver.run(self._operations.invalidate(dependencies))

    def touched_by(self, event: Event) -> list[Key]:
        """See `Cache.touched_by`."""
        return self._driver.run(self._operations.touched_by(event))

    def put(self, key: str, value: object, *dependencies: Dependency, expires: timedelta | float | None = None) -> None:
        """See `Cache.put`."""
        self._driver.run(self._operations.put(key, value, dependencies, expires))

    def get(self, key: str) -> Any:  # noqa: ANN401 - whatever was put
        """See `Cache.get`."""
        return self._driver.run(self._operations.get(key))

    def has(self, key: str) -> bool:
        """See `Cache.has`."""
        return self._driver.run(self._operations.has(key))

    def delete(self, *keys: str) -> int:
        """See `Cache.delete`."""
        return self._driver.run(self._operations.delete(keys))

    def stored(self, key: str) -> Entry | None:
        """See `Cache.stored`."""
        return self._driver.run(self._operations.stored(key))

    def position(self) -> Position:
        """See `Cache.position`."""
        return self._driver.run(self._operations.position())
