"""Functions that load many ids at once: what `@cache.cached_many` puts in their place.

Each id is an entry of its own, and `one` is the cached function of a single id: its key, its entry, its watchers. A
call takes what is there, and runs the function once for the ids that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from everfresh.cache.background import Background
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.functions import AsyncFunction, SyncFunction
from everfresh.cache.holding import holding
from everfresh.cache.reads import Reads, Wanted, checked_position
from everfresh.cache.values import is_left_out
from everfresh.model.entry import Entry
from everfresh.model.position import Position
from everfresh.protocol.queueing import Enqueue
from everfresh.protocol.reading_many import read_many
from everfresh.protocol.requests import STRICT, Bounds, Steps

I = TypeVar("I")  # noqa: E741 - an id
P = ParamSpec("P")
V = TypeVar("V")


class ManyFunction(Generic[I, P, V]):
    """What both colours share."""

    def __init__(self, reads: Reads[V | None]) -> None:
        self._reads = reads
        # Typed for functions; any object that is called will do.
        update_wrapper(cast("Any", self), reads.spec.function)

    @property
    def name(self) -> str:
        """The function's name in keys, recipes and notices: `module.qualname@version`."""
        return self._reads.spec.name

    def _ids(self, ids: Iterable[I]) -> list[I]:
        if isinstance(ids, str | bytes):
            raise TypeError(f"{self.name}: it takes a list of ids, not one text. Write [{ids!r}].")
        try:
            each = iter(ids)
        except TypeError as error:
            raise TypeError(f"{self.name}: it takes a list of ids, not one id. Write [{ids!r}].") from error
        return list(each)

    def _first_builds(self, ids: Iterable[I], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Enqueue:
        return self._reads.first_builds([(id_, *args) for id_ in self._ids(ids)], kwargs)

    def _steps(self, wanted: Wanted, bounds: Bounds) -> Steps[list[Entry]]:
        steps = read_many(list(wanted.calls.values()), self._reads.bounds(bounds))
        return holding(steps, self._reads.engine.keeper)

    def _found(self, ids: list[I], wanted: Wanted) -> dict[I, V]:
        """The values by id, without those that the function left out."""
        values: dict[I, V] = {}
        for id_, key in zip(ids, wanted.keys, strict=True):
            entry = self._reads.entry_of(wanted, key)
            if entry.is_error or not is_left_out(entry.value):
                values[id_] = cast("V", self._reads.value_in(wanted, key))
        return values


class SyncManyFunction(ManyFunction[I, P, V]):
    """A cached function of many ids for blocking code; safe from every thread."""

    def __init__(self, reads: Reads[V | None], background: Background) -> None:
        super().__init__(reads)
        self._driver = BlockingDriver(reads.engine, background.revalidate)
        self.one: SyncFunction[Concatenate[I, P], V | None] = SyncFunction(reads, background)
        """The cached function of a single id, whose value is None when there is none."""

    def __call__(self, ids: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> dict[I, V]:
        """The values by id, as by `cached`; the function runs once for the ids that are missing, up to 1,000 at a time.

        An id that the function leaves out of its result is not in this one either, and is not asked for again until
        one of its dependencies is touched.
        """
        return self._read(ids, args, kwargs, self._reads.spec.policy.bounds)

    def fresh(self, ids: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> dict[I, V]:
        """The values with both bounds at zero: nothing that is known to be out of date, nor built from such."""
        return self._read(ids, args, kwargs, STRICT)

    def read(self, *, after: Position) -> Callable[Concatenate[Iterable[I], P], dict[I, V]]:
        """The function as it is read by whoever published at `after`; see `SyncFunction.read`.

        Raises:
            InvalidPosition: `after` is no position.
        """
        position = checked_position(after)

        def reading(ids: Iterable[I], /, *args: P.args, **kwargs: P.kwargs) -> dict[I, V]:
            return self._read(ids, args, kwargs, STRICT, position)

        return reading

    def warm(self, ids: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> int:
        """Queue the first builds of ids for workers; how many were not known. Nobody waits."""
        return self._reads.engine.store.carry_out(self._first_builds(ids, args, kwargs))

    def _read(
        self,
        ids: Iterable[I],
        args: Any,  # noqa: ANN401 - checked by the public signature
        kwargs: Any,  # noqa: ANN401 - as above
        bounds: Bounds,
        after: Position | None = None,
    ) -> dict[I, V]:
        listed, reads = self._ids(ids), self._reads
        wanted = reads.want([(id_, *args) for id_ in listed], kwargs, after=after)
        try:
            if wanted.calls:
                found = self._driver.run(self._steps(wanted, bounds))
                wanted.entries.update(zip(wanted.calls, found, strict=True))
        except Exception as error:
            wanted.errors.update(dict.fromkeys(wanted.calls, error))
            raise
        finally:
            reads.settle(wanted)
        return self._found(listed, wanted)


class AsyncManyFunction(ManyFunction[I, P, V]):
    """A cached function of many ids for asyncio; for each event loop of the process."""

    def __init__(self, reads: Reads[V | None], background: Background) -> None:
        super().__init__(reads)
        self._driver = AsyncDriver(reads.engine, background.revalidate)
        self.one: AsyncFunction[Concatenate[I, P], V | None] = AsyncFunction(reads, background)
        """The cached function of a single id, whose value is None when there is none."""

    async def __call__(self, ids: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> dict[I, V]:
        """The values by id, as by `cached`; the function runs once for the ids that are missing, up to 1,000 at a time.

        An id that the function leaves out of its result is not in this one either, and is not asked for again until
        one of its dependencies is touched.
        """
        return await self._read(ids, args, kwargs, self._reads.spec.policy.bounds)

    async def fresh(self, ids: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> dict[I, V]:
        """The values with both bounds at zero: nothing that is known to be out of date, nor built from such."""
        return await self._read(ids, args, kwargs, STRICT)

    def read(self, *, after: Position) -> Callable[Concatenate[Iterable[I], P], Coroutine[Any, Any, dict[I, V]]]:
        """The function as it is read by whoever published at `after`; see `AsyncFunction.read`.

        Raises:
            InvalidPosition: `after` is no position.
        """
        position = checked_position(after)

        async def reading(ids: Iterable[I], /, *args: P.args, **kwargs: P.kwargs) -> dict[I, V]:
            return await self._read(ids, args, kwargs, STRICT, position)

        return reading

    async def warm(self, ids: Iterable[I], *args: P.args, **kwargs: P.kwargs) -> int:
        """Queue the first builds of ids for workers; how many were not known. Nobody waits."""
        return await self._reads.engine.store.carry_out_async(self._first_builds(ids, args, kwargs))

    async def _read(
        self,
        ids: Iterable[I],
        args: Any,  # noqa: ANN401 - checked by the public signature
        kwargs: Any,  # noqa: ANN401 - as above
        bounds: Bounds,
        after: Position | None = None,
    ) -> dict[I, V]:
        listed, reads = self._ids(ids), self._reads
        wanted = reads.want([(id_, *args) for id_ in listed], kwargs, after=after)
        try:
            if wanted.calls:
                found = await self._driver.run(self._steps(wanted, bounds))
                wanted.entries.update(zip(wanted.calls, found, strict=True))
        except Exception as error:
            wanted.errors.update(dict.fromkeys(wanted.calls, error))
            raise
        finally:
            reads.settle(wanted)
        return self._found(listed, wanted)
