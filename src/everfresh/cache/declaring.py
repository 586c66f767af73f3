"""Declaring: from a function and its options to the spec that the engine runs, checked at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

from everfresh.cache.engine import Spec, shapes_of
from everfresh.cache.signatures import CallSignature
from everfresh.cache.values import Codec, fingerprint_of
from everfresh.model.dependency import Dependency, check_dependencies
from everfresh.model.errors import InvalidOption
from everfresh.protocol.requests import Policy


def declare(  # noqa: PLR0913 - the options of the decorator
    function: Callable[..., Any],
    *,
    policy: Policy,
    depends_on: Sequence[Dependency],
    version: int,
    key: str | None,
    ignore: Sequence[str],
    inherit: Sequence[ContextVar[Any]],
) -> Spec:
    """The spec of a cached function.

    Raises:
        InvalidOption: the function cannot be cached, or an option does not fit it.
        InvalidDependency: something in `depends_on` is no dependency or names no parameter.
    """
    name = f"{function.__module__}.{getattr(function, '__qualname__', '<lambda>')}@{version}"
    _check_function(function, name)
    signature = CallSignature(function, name=name, ignore=_checked_ignore(ignore, name), template=key)
    dependencies = check_dependencies(depends_on)

    # Read at the first call, not here: the annotation may name a class that is defined further down.
    @cache
    def codec() -> Codec[Any]:
        return Codec(signature.annotation("return"), name)

    @cache
    def fingerprint() -> str:
        codec()
        return fingerprint_of(signature.annotation("return"), name)

    return Spec(
        name=name,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        signature=signature,
        codec=codec,
        fingerprint=fingerprint,
        policy=policy,
        depends_on=dependencies,
        shapes=shapes_of(dependencies, signature, name),
        inherit=tuple(inherit),
    )


def check_unique(spec: Spec, others: Iterable[Spec]) -> None:
    """Accept a function whose keys are no other's. One declared again at the top of a module takes the old one's place.

    Raises:
        InvalidOption: two functions would share their keys.
    """
    for other in others:
        if other.name == spec.name:
            if "<locals>" in spec.name and other.function is not spec.function:
                msg = (
                    f"{spec.name}: a function within a function is cached twice; both would share values. Move it out."
                )
                raise InvalidOption(msg)
            continue
        ours, theirs = spec.signature.template, other.signature.template
        if ours is not None and theirs is not None and ours.shape == theirs.shape:
            msg = f"{spec.name}: {other.name} has the same key. Name them differently."
            raise InvalidOption(msg)


def _check_function(function: Callable[..., Any], name: str) -> None:
    if "<lambda>" in name:
        raise InvalidOption(f"{name}: it has no name of its own for its keys. Write it with `def`.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"{name}: a generator has no value to store. Return a list."
        raise InvalidOption(msg)
    first = next(iter(inspect.signature(function).parameters), "")
    if first in ("self", "cls"):
        msg = (
            f"{name}: a method needs its object, which a worker does not have. Cache a function, or a static method, "
            "that takes plain arguments."
        )
        raise InvalidOption(msg)


def _checked_ignore(ignore: Sequence[str], name: str) -> Sequence[str]:
    if isinstance(ignore, str):
        msg = f"{name}: ignore is the text {ignore!r}. Give a tuple of parameter names: ignore=({ignore!r},)."
        raise InvalidOption(msg)
    return ignore
