"""Declaring: from a function and its options to the spec that the engine runs, checked at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

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
    name = _name_of(function, version)
    _check_function(function, name)
    ignored = _checked_ignore(ignore, name)
    signature = CallSignature(function, name=name, ignore=ignored, template=_checked_key(key, name))
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
        inherit=_variables(inherit, name),
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
    try:
        parameters = inspect.signature(function).parameters
    except ValueError as error:
        raise InvalidOption(f"{name}: its parameters cannot be seen: {error}. Wrap it in a function.") from error
    first = next(iter(parameters), "")
    if first in ("self", "cls"):
        msg = (
            f"{name}: a method needs its object, which a worker does not have. Cache a function, or a static method, "
            "that takes plain arguments."
        )
        raise InvalidOption(msg)


def _name_of(function: object, version: int) -> str:
    if not callable(function):
        raise InvalidOption(f"cached: {function!r} is no function. Put the decorator on a function.")
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module is None or name is None:
        raise InvalidOption(f"cached: {function!r} has no name of its own for its keys. Write a function with `def`.")
    return f"{module}.{name}@{version}"


def _checked_ignore(ignore: object, name: str) -> tuple[str, ...]:
    if isinstance(ignore, str) or not isinstance(ignore, Iterable):
        raise InvalidOption(
            f"{name}: ignore {ignore!r} is no tuple of names. Write ignore=({ignore!r},), with the comma."
        )
    return tuple(map(str, cast("Iterable[object]", ignore)))


def _checked_key(key: object, name: str) -> str | None:
    if key is not None and not isinstance(key, str):
        raise InvalidOption(f'{name}: key {key!r} is no text. Write for example "reviews:{{email}}".')
    return key


def _variables(variables: object, name: str) -> tuple[ContextVar[Any], ...]:
    found = tuple(cast("Iterable[object]", variables)) if isinstance(variables, Iterable) else (None,)
    if not all(isinstance(variable, ContextVar) for variable in found):
        raise InvalidOption(f"{name}: inherit takes context variables. Write (variable,), with the comma.")
    return cast("tuple[ContextVar[Any], ...]", found)
