"""Declaring: from a function and its options to the spec that the engine runs, checked at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

from everfresh.cache.keys import is_storable
from everfresh.cache.options import Options, error_types, texts_of
from everfresh.cache.signatures import CallSignature, SignatureOfOne
from everfresh.cache.spec import Spec, shapes_of, watched_of
from everfresh.cache.values import Codec, CodecOfOne, fingerprint_of
from everfresh.model import dependency as dep
from everfresh.model.dependency import check_dependencies
from everfresh.model.errors import InvalidOption
from everfresh.model.event import Event
from everfresh.model.options import whole_number
from everfresh.protocol.requests import Policy


def declare(function: Callable[..., Any], *, policy: Policy, options: Options, takes_ids: bool = False) -> Spec:
    """The spec of a cached function; of one that loads many ids with `takes_ids`.

    Raises:
        InvalidOption: the function cannot be cached, or an option does not fit it.
        InvalidDependency: something in `depends_on` is no dependency or names no parameter.
    """
    version = whole_number(options.version, option="version", least=0)
    name = _name_of(function, version)
    _check_function(function, name)
    ignored = texts_of(options.ignore, option="ignore", name=name)
    template = _checked_key(options.key, name)
    ids = _ids_of(function, ignored, name) if takes_ids else None
    kind = CallSignature if ids is None else SignatureOfOne
    secret = texts_of(options.secret, option="secret", name=name)
    signature = kind(function, name=name, ignore=ignored, template=template, secret=secret)
    dependencies = check_dependencies(options.depends_on)
    codec, fingerprint = _reading(signature, name, CodecOfOne if takes_ids else Codec)
    watched = watched_of(_checked_topics(options, signature, name), name)
    return Spec(
        name=name,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        signature=signature,
        codec=codec,
        fingerprint=fingerprint,
        policy=policy,
        depends_on=dependencies,
        shapes=(*shapes_of(dependencies, signature, name), *(group.shape for group in watched)),
        inherit=_variables(options.inherit, name),
        ids=ids,
        cache_errors=error_types(options.cache_errors, name),
        should_refresh=options.should_refresh,
        watched=watched,
        settled=_checked_settled(options, name),
    )


def _reading(
    signature: CallSignature, name: str, kind: type[Codec[Any]]
) -> tuple[Callable[[], Codec[Any]], Callable[[], str]]:
    """How values are read, and the fingerprint of that.

    Both are made at the first call, not here: the annotation may name a class that is defined further down.
    """

    @cache
    def codec() -> Codec[Any]:
        return kind(signature.annotation("return"), name)

    @cache
    def fingerprint() -> str:
        codec()
        return fingerprint_of(signature.annotation("return"), name)

    return codec, fingerprint


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


def _checked_key(key: object, name: str) -> str | None:
    if key is not None and not isinstance(key, str):
        raise InvalidOption(f'{name}: key {key!r} is no text. Write for example "reviews:{{email}}".')
    if key is not None and not is_storable(key):
        raise InvalidOption(f"{name}: key {key!r} cannot be written as UTF-8.")
    return key


def _variables(variables: object, name: str) -> tuple[ContextVar[Any], ...]:
    found = tuple(cast("Iterable[object]", variables)) if isinstance(variables, Iterable) else (None,)
    if not all(isinstance(variable, ContextVar) for variable in found):
        raise InvalidOption(f"{name}: inherit takes context variables. Write (variable,), with the comma.")
    return cast("tuple[ContextVar[Any], ...]", found)


def _ids_of(function: Callable[..., Any], ignored: Sequence[str], name: str) -> str:
    """The parameter that takes many ids."""
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise InvalidOption(f"{name}: its first parameter takes the ids. Write for example def users(ids: list[int]).")
    if first.name in ignored:
        raise InvalidOption(f"{name}: {first.name!r} tells its entries apart, so it cannot be ignored.")
    return first.name


def _checked_topics(options: Options, signature: CallSignature, name: str) -> tuple[str, ...]:
    """The topics that the function judges itself."""
    topics = texts_of(options.topics, option="topics", name=name)
    predicate = options.should_refresh
    if predicate is None:
        if topics:
            raise InvalidOption(f"{name}: topics says nothing without should_refresh. Use depends_on=[dep.Topic(...)].")
        return ()
    _check_plain(predicate, f"{name}: should_refresh", "event, ...")
    if not topics:
        raise InvalidOption(
            f"{name}: should_refresh would run for every event. Say for which: topics=('shop.order.*',)."
        )
    for topic in topics:
        dep.Topic(topic)
    told = [parameter for parameter in signature.parameters if parameter not in signature.ignored]
    _check_takes(predicate, f"{name}: should_refresh", ["event"], told)
    return tuple(dict.fromkeys(topics))


def _checked_settled(options: Options, name: str) -> Callable[[Event, Any], bool] | None:
    """Who says whether a value shows what an event told of."""
    predicate = options.settled
    if predicate is not None:
        _check_plain(predicate, f"{name}: settled", "event, value")
        _check_takes(predicate, f"{name}: settled", ["event", "value"], [])
    return predicate


def _check_plain(predicate: object, what: str, takes: str) -> None:
    is_async = inspect.iscoroutinefunction
    if not callable(predicate) or is_async(predicate) or is_async(predicate.__call__):
        raise InvalidOption(f"{what} {predicate!r} is no plain function. Write def ({takes}) -> bool.")


def _check_takes(predicate: Callable[..., bool], what: str, in_order: Sequence[str], by_name: Sequence[str]) -> None:
    try:
        inspect.signature(predicate).bind(*in_order, **dict.fromkeys(by_name))
    except TypeError as error:
        wanted = ", ".join([*in_order, *by_name])
        raise InvalidOption(f"{what} is called with ({wanted}), but: {error}.") from error
    except ValueError:
        # A builtin that does not say what it takes is tried when the first event comes.
        pass
