"""BlockingCache: a cache's methods for synchronous code."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from everfresh.cache import asking
from everfresh.cache.asking import Coverage, Named
from everfresh.cache.drivers import BlockingDriver
from everfresh.cache.explaining import Explanation, explain
from everfresh.cache.misses import AskedHere, Slip
from everfresh.cache.operations import Operations
from everfresh.cache.transactions import BlockingTransaction
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Entry, Key, State
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Listed


class BlockingCache:
    """The same methods as the cache's, without `await`; safe from every thread."""

    def __init__(self, driver: BlockingDriver, operations: Operations) -> None:
        self._driver = driver
        self._operations = operations

    @property
    def production_mode(self) -> bool:
        """See `Cache.production_mode`."""
        return self._operations.production_mode

    def publish(self, *events: Event, acknowledged: bool = False) -> Position:
        """See `Cache.publish`."""
        steps = self._operations.publish(events)
        return self._driver.run(self._operations.everywhere(steps) if acknowledged else steps)

    def invalidate(self, *dependencies: Dependency, acknowledged: bool = False) -> Position:
        """See `Cache.invalidate`."""
        steps = self._operations.invalidate(dependencies)
        return self._driver.run(self._operations.everywhere(steps) if acknowledged else steps)

    def touched_by(self, event: Event) -> list[Key]:
        """See `Cache.touched_by`."""
        return self._driver.run(self._operations.touched_by(event))

    def transaction(self) -> BlockingTransaction:
        """See `Cache.transaction`; a plain `with`."""
        return BlockingTransaction(self._operations, self._driver)

    def put(self, key: str, value: object, *dependencies: Dependency, expires: timedelta | float | None = None) -> None:
        """See `Cache.put`."""
        answered = self._operations.answered(key)
        self._driver.run(self._operations.put(key, value, dependencies, expires, answered))

    @AskedHere
    def get(self, asker: Slip, key: str) -> Any:  # noqa: ANN401 - whatever was put
        """See `Cache.get`."""
        return self._driver.run(self._operations.get(key, self._operations.asked(key, asker)))

    @AskedHere
    def has(self, asker: Slip, key: str) -> bool:
        """See `Cache.has`."""
        return self._driver.run(self._operations.has(key, self._operations.asked(key, asker)))

    def delete(self, *keys: str) -> int:
        """See `Cache.delete`."""
        return self._driver.run(self._operations.delete(keys))

    def stored(self, key: str) -> Entry | None:
        """See `Cache.stored`."""
        return self._driver.run(self._operations.stored(key))

    def position(self) -> Position:
        """See `Cache.position`."""
        return self._driver.run(self._operations.position())

    def explain(self, key: str) -> Explanation:
        """See `Cache.explain`."""
        return self._driver.run(explain(key))

    def entries(
        self,
        function: Named | str | None = None,
        state: State | str | None = None,
        pattern: str | None = None,
    ) -> list[Listed]:
        """See `Cache.entries`."""
        return self._driver.run(asking.entries(function, state, pattern))

    def coverage(self, function: Named | str | None = None) -> Coverage:
        """See `Cache.coverage`."""
        return self._driver.run(asking.coverage(function))

    def drop(self, function: Named | str | None = None, pattern: str | None = None) -> int:
        """See `Cache.drop`."""
        return self._driver.run(asking.drop(function, pattern))

    def failed(self) -> list[Listed]:
        """See `Cache.failed`."""
        return self._driver.run(asking.entries(None, State.FAILED, None))

    def retry(self, *keys: str) -> int:
        """See `Cache.retry`."""
        return self._driver.run(asking.retry(keys))
