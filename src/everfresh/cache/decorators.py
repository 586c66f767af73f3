"""Decorators: what `cache.cached(...)` and `cache.cached_many(...)` give, by their types."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from everfresh.cache.functions import AsyncFunction, SyncFunction
from everfresh.cache.many_functions import AsyncManyFunction, SyncManyFunction

I = TypeVar("I")  # noqa: E741 - an id
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class Decorator(Protocol):
    """What `cache.cached(...)` gives: it keeps the colour and the types of the function."""

    # A coroutine is a result too, so the second would also take the first's functions; the first that fits decides.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncFunction[P, R]: ...


class ManyDecorator(Protocol):
    """What `cache.cached_many(...)` gives: it keeps the colour and the types of the function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[I], P], Coroutine[Any, Any, Mapping[I, V]]], /
    ) -> AsyncManyFunction[I, P, V]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[list[I], P], Mapping[I, V]], /) -> SyncManyFunction[I, P, V]: ...
