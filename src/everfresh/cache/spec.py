"""Spec: a cached function as the engine needs it. BoundCall: a call of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from inspect import BoundArguments
from typing import Any, cast

from everfresh.cache.caching_errors import ErrorTypes
from everfresh.cache.signatures import Arguments, CallSignature
from everfresh.cache.tracking import Frame, current_frame
from everfresh.cache.values import Codec
from everfresh.matching.shapes import Group, Shape, predicate_shape, shape_and_values
from everfresh.model import dependency as dep
from everfresh.model.entry import Recipe
from everfresh.model.errors import InvalidDependency
from everfresh.model.event import Event
from everfresh.model.marks import override
from everfresh.protocol.requests import Call, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A cached function as the engine needs it.

    `ids` is the parameter that takes many ids at once, for a function that does; its calls are those of one id each.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    signature: CallSignature
    codec: Callable[[], Codec[Any]]
    fingerprint: Callable[[], str]
    policy: Policy
    depends_on: tuple[dep.Dependency, ...]
    shapes: tuple[Shape, ...]
    inherit: tuple[ContextVar[Any], ...]
    ids: str | None = None
    cache_errors: ErrorTypes = ()
    should_refresh: Callable[..., bool] | None = None
    watched: tuple[Group, ...] = ()
    settled: Callable[[Event, Any], bool] | None = None

    def dependencies(self, arguments: Mapping[str, Any]) -> list[dep.Dependency]:
        """The declared dependencies of a call with these arguments."""
        return [dep.filled(dependency, arguments) for dependency in self.depends_on]

    def context(self, frame: Frame) -> Context:
        """An empty context with the frame, and the variables that were asked for."""
        context = Context()
        context.run(current_frame.set, frame)
        missing = object()
        for variable in self.inherit:
            value = variable.get(missing)
            if value is not missing:
                context.run(variable.set, value)
        return context

    def run(self, arguments: Arguments) -> Any:  # noqa: ANN401 - whatever the user's function gives
        """Call the function."""
        bound = BoundArguments(self.signature.signature, cast("Any", arguments))
        return self.function(*bound.args, **bound.kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCall(Call):
    """A call with the function and the arguments themselves; its recipe is made when it is needed, if it was not."""

    spec: Spec
    arguments: Arguments
    made: Recipe | None = field(default=None, compare=False)

    @property
    @override
    def recipe(self) -> Recipe:
        made = self.made
        if made is None:
            made = Recipe(self.spec.name, self.spec.signature.encode(self.arguments))
            object.__setattr__(self, "made", made)
        return made


def shapes_of(dependencies: tuple[dep.Dependency, ...], signature: CallSignature, name: str) -> tuple[Shape, ...]:
    """The shapes of declared dependencies, which do not hang on the arguments.

    Raises:
        InvalidDependency: a `dep.arg` names no parameter that tells calls apart, or a value has no canonical text.
    """
    known = [parameter for parameter in signature.parameters if parameter not in signature.ignored]
    for dependency in dependencies:
        for argument in dep.arguments_of(dependency):
            if argument.name in signature.secret:
                raise InvalidDependency(
                    f"{name}: {argument.name!r} is secret, and a dependency would show it. Depend on something else."
                )
            if argument.name not in known:
                raise InvalidDependency(
                    f"{name}: dep.arg({argument.name!r}) names no parameter that tells calls apart. Use one of {known}."
                )
    placeholders = dict.fromkeys(known, "-")
    return tuple({shape_and_values(dep.filled(dependency, placeholders))[0]: None for dependency in dependencies})


def watched_of(topics: tuple[str, ...], name: str) -> tuple[Group, ...]:
    """Where the entries of a function stand that judges events itself: one bucket for each of its topics."""
    return tuple(Group(predicate_shape(topic, name), ((),)) for topic in topics)
