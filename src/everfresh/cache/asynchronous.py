"""AsynchronousCache: a cache's methods for asyncio."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from everfresh.cache import asking
from everfresh.cache.asking import Coverage, Named
from everfresh.cache.drivers import AsyncDriver
from everfresh.cache.explaining import Explanation, explain
from everfresh.cache.operations import Operations
from everfresh.cache.sourcing import SourceOperations
from everfresh.cache.transactions import Transaction
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Entry, Key, State
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Listed


class AsynchronousCache:
    """What can be done with a cache beside the functions; `Cache` adds those."""

    _driver: AsyncDriver
    _operations: Operations
    _sources: SourceOperations

    @property
    def sources(self) -> SourceOperations:
        """What sources do with the cache; for the floors above, not for applications."""
        return self._sources

    @property
    def production_mode(self) -> bool:
        """Whether a list that nobody described is a warning, and not an error."""
        return self._operations.production_mode

    async def publish(self, *events: Event, acknowledged: bool = False) -> Position:
        """Apply events as one step; from the position on, nobody is served what they outdated.

        Repeating is safe: a doubled event costs at most a rebuild. Within a transaction they are held back, and the
        position is that of before.

        With `acknowledged` it comes back when every process that holds values near has let go of what is older, so that
        nobody anywhere serves it; a process that does not answer is waited for at most a second. Stores of one machine
        are always so.

        Raises:
            InvalidEvent: one of them is no event; none was applied.
            InvalidOption: acknowledged within a transaction; none was applied.
            StoreUnavailable: none was applied; publish them again.
            TooManyGenerations: events of builds have led to builds that publish events too often.
        """
        steps = self._operations.publish(events)
        return await self._driver.run(self._operations.everywhere(steps) if acknowledged else steps)

    async def invalidate(self, *dependencies: Dependency, acknowledged: bool = False) -> Position:
        """Touch every entry that has one of these dependencies, as if an event had come; `acknowledged` as above."""
        steps = self._operations.invalidate(dependencies)
        return await self._driver.run(self._operations.everywhere(steps) if acknowledged else steps)

    async def touched_by(self, event: Event) -> list[Key]:
        """The keys, sorted, that the event would touch directly; nothing is published."""
        return await self._driver.run(self._operations.touched_by(event))

    def transaction(self) -> Transaction:
        """A block in which what is published, invalidated, put or deleted waits for its good end.

        If the block raises, all of it is gone. Wrap it around a transaction of the database, so that nobody is told of
        what was rolled back, and nobody is told before the data is there. Blocks may be nested: the inner ones end with
        the outer one. What is held back is not seen by `get` within the block either.

        A value that is put after events of its block is taken to show them, and is kept; if it answers a miss that came
        before them, they win. A function that was built in this process while a block ran may have read what is then
        rolled back: the events and names of a block that raises are told all the same if anything was built meanwhile,
        which costs a rebuild at most. What a block changes and has not told of by then, nobody knows of.

            async with cache.transaction() as block:
                ...
            await article.read(after=block.position)(1)
        """
        return Transaction(self._operations, self._driver)

    def put(
        self, key: str, value: object, *dependencies: Dependency, expires: timedelta | float | None = None
    ) -> Coroutine[Any, Any, None]:
        """Store a value by hand, until one of its dependencies is touched or `expires` (seconds or timedelta) is over.

        After a miss of the key in this task, a dependency touched since that miss wins: nothing is stored. A miss
        counts for the task or thread in which `get` or `has` is written, also if another carries it out, as in
        `asyncio.wait_for(cache.get("a"), 1)`, `gather(cache.get("a"), cache.get("b"))` and
        `asyncio.to_thread(cache.blocking.get, "a")`, and for those that it starts afterwards; it does not count for
        whoever started that task or thread. A put that failed, or whose transaction was rolled back, may be tried
        again: the miss still counts.

        Raises:
            ValueNotSupported: the value cannot be encoded; nothing was stored.
            InvalidOption: `expires` is zero or negative.
        """
        answered = self._operations.answered(key)
        return self._driver.run(self._operations.put(key, value, dependencies, expires, answered))

    def get(self, key: str) -> Coroutine[Any, Any, Any]:
        """The value under the key, as plain data: lists, dicts, text, numbers.

        Raises:
            NotInCache: a KeyError; nothing is there, or it is known to be out of date.
        """
        # Here, and not in the coroutine, which may run in a task of its own: a miss is for who calls.
        return self._driver.run(self._operations.get(key, self._operations.asked(key)))

    def has(self, key: str) -> Coroutine[Any, Any, bool]:
        """Whether `get` would give a value."""
        return self._driver.run(self._operations.has(key, self._operations.asked(key)))

    async def delete(self, *keys: str) -> int:
        """Remove entries, put or built; how many there were."""
        return await self._driver.run(self._operations.delete(keys))

    async def stored(self, key: str) -> Entry | None:
        """Any entry by its key, whatever its state, or None; never builds."""
        return await self._driver.run(self._operations.stored(key))

    async def position(self) -> Position:
        """The store's newest position."""
        return await self._driver.run(self._operations.position())

    async def explain(self, key: str) -> Explanation:
        """What is known of an entry: how fresh it is and why, what touched it, what would, and who built it.

        Printed, it is a page for people.

        Raises:
            NotInCache: a KeyError; nothing is known of it.
        """
        return await self._driver.run(explain(key))

    async def entries(
        self,
        function: Named | str | None = None,
        state: State | str | None = None,
        pattern: str | None = None,
    ) -> list[Listed]:
        """The entries in the order of their keys, without their values.

        Args:
            function: a cached function, or its name `module.qualname@version`; empty for values that were put.
            state: only those in this state.
            pattern: only keys that match, `*` standing for any text, as for the names of files.
        """
        return await self._driver.run(asking.entries(function, state, pattern))

    async def coverage(self, function: Named | str | None = None) -> Coverage:
        """How many of the entries that are known, of one function or of all, have a value."""
        return await self._driver.run(asking.coverage(function))

    async def drop(self, function: Named | str | None = None, pattern: str | None = None) -> int:
        """Remove the entries of a function, or whose keys match a pattern, or both; how many values there were.

        Raises:
            InvalidOption: nothing is named; `pattern="*"` stands for everything.
        """
        return await self._driver.run(asking.drop(function, pattern))

    async def failed(self) -> list[Listed]:
        """The entries that nobody tries to build any more, after `max_attempts`, with their last error as `reason`."""
        return await self._driver.run(asking.entries(None, State.FAILED, None))

    async def retry(self, *keys: str) -> int:
        """Have entries that failed, or wait for their next try, built at once; how many of these there were."""
        return await self._driver.run(asking.retry(keys))
