"""Engine: one cache's parts, and the calls that its drivers carry out with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Any

from everfresh.cache.keeper import LeaseKeeper
from everfresh.cache.near import NearCache
from everfresh.cache.notices import NoticeBoard
from everfresh.cache.signatures import Arguments, CallSignature
from everfresh.cache.tracking import Frame, current_frame
from everfresh.cache.values import Codec
from everfresh.feed.follower import Follower
from everfresh.feed.wakers import Wakers
from everfresh.matching.shapes import Shape, ShapeId, shape_and_values
from everfresh.matching.triage import ShapeIndex
from everfresh.model import dependency as dep
from everfresh.model.clock import Dice, fair_dice
from everfresh.model.entry import Entry, Key, Lease, Recipe
from everfresh.model.errors import InvalidDependency, UnknownFunction
from everfresh.protocol.requests import Built, Call, Committed, Fail, Load, Loaded, Policy, Register
from everfresh.stores.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A cached function as the engine needs it."""

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

    def dependencies(self, arguments: Mapping[str, Any]) -> list[dep.Dependency]:
        """The declared dependencies of a call with these arguments."""
        return [_filled(dependency, arguments) for dependency in self.depends_on]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCall(Call):
    """A call with the function and the arguments themselves."""

    spec: Spec
    arguments: Arguments


class Engine:
    """What readers, workers and publishers of one cache share."""

    def __init__(self, store: Store, *, n_near: int, dice: Dice = fair_dice) -> None:
        self.store = store
        self.board = NoticeBoard()
        self.near = NearCache(n_near)
        self.wakers = Wakers()
        self.index = ShapeIndex()
        self.functions: dict[str, Spec] = {}
        self.dice = dice
        self.keeper = LeaseKeeper(store, self.board)
        self.follower = Follower(store)
        self.follower.add(self.near)
        self.follower.add(self.wakers)
        self._told: set[ShapeId] = set()

    def bind(self, spec: Spec, arguments: Arguments, key: Key) -> BoundCall:
        """The call of the function with these arguments."""
        return BoundCall(
            key=key,
            recipe=Recipe(spec.name, spec.signature.encode(arguments)),
            fingerprint=spec.fingerprint(),
            shapes=spec.shapes,
            policy=spec.policy,
            spec=spec,
            arguments=arguments,
        )

    def resolve(self, key: Key, recipe: Recipe) -> BoundCall:
        """The call that a recipe stands for.

        Raises:
            UnknownFunction: this process does not have the function.
            ArgumentNotSupported: the function's signature is another one by now.
        """
        spec = self.functions.get(recipe.function)
        if spec is None:
            msg = f"{key}: this process has no function {recipe.function!r}. Import the module that declares it."
            raise UnknownFunction(msg)
        return self.bind(spec, spec.signature.decode(recipe.arguments), key)

    def frame(self, call: BoundCall, lease: Lease) -> Frame:
        """The frame of a build, with the declared dependencies in it."""
        outer = current_frame.get()
        chain = (*outer.chain, call.key) if outer is not None else (call.key,)
        frame = Frame(chain, lease.begun.sequence, tell=self._tell, see=self._see)
        for dependency in call.spec.dependencies(call.arguments):
            frame.add(dependency)
        return frame

    def built(self, call: BoundCall, frame: Frame, value: object, build_s: float) -> Built:
        """What a build gave, encoded.

        Raises:
            ValueNotSupported: the value cannot be stored.
        """
        data, digest = call.spec.codec().encode(value)
        groups, seen = frame.close()
        return Built(
            value=data,
            digest=digest,
            groups=groups,
            seen=seen,
            good_from=frame.good_from,
            build_s=build_s,
            expires_at=frame.expires_at,
            is_makeshift=frame.is_makeshift,
        )

    def announce_commit(self, committed: Committed, role: str) -> None:
        """Tell of a value that was built."""
        entry = committed.entry
        self.board.tell(
            f"{role}.done",
            key=entry.key,
            changed=committed.is_changed,
            version=entry.version,
            build_s=entry.build_s,
            position=entry.changed_at,
        )

    def announce_failure(self, request: Fail, kept: Loaded, role: str) -> None:
        """Tell of a build that raised."""
        attempts = kept.entry.attempts if kept.entry is not None else 1
        self.board.tell(
            f"{role}.failed",
            key=request.lease.key,
            error=request.reason,
            attempts=attempts,
            retry_in_s=request.retry_in_s,
        )

    def close(self) -> None:
        """Stop the threads and let go of the store."""
        self.keeper.close()
        self.follower.stop()
        self.store.close()
        # Whoever waits looks again, and is told by the store.
        self.follower.start_over()

    def _tell(self, shape: Shape) -> None:
        if shape.id not in self._told:
            self.store.carry_out(Register((shape,)))
            self._told.add(shape.id)

    def _see(self, key: Key) -> Entry | None:
        return self.store.carry_out(Load(key)).entry


def _filled(dependency: dep.Dependency, arguments: Mapping[str, Any]) -> dep.Dependency:
    """The dependency with the call's arguments in the places of `dep.arg`."""
    match dependency:
        case dep.Topic(pattern=pattern, where=where):
            return dep.Topic(pattern, {field: _value(value, arguments) for field, value in where.items()})
        case dep.Id(type=type_, id=id_, watch=watch):
            return dep.Id(type_, _value(id_, arguments), watch)
        case dep.Tag(name=name):
            return dep.Tag(_value(name, arguments))
        case dep.Call():
            return dependency


def _value(value: object, arguments: Mapping[str, Any]) -> object:
    return arguments[value.name] if isinstance(value, dep.Argument) else value


def shapes_of(dependencies: tuple[dep.Dependency, ...], signature: CallSignature, name: str) -> tuple[Shape, ...]:
    """The shapes of declared dependencies, which do not hang on the arguments.

    Raises:
        InvalidDependency: a `dep.arg` names no parameter that tells calls apart, or a value has no canonical text.
    """
    known = [parameter for parameter in signature.parameters if parameter not in signature.ignored]
    for dependency in dependencies:
        for value in _values_of(dependency):
            if isinstance(value, dep.Argument) and value.name not in known:
                msg = f"{name}: dep.arg({value.name!r}) names no parameter that tells calls apart. Name one of {known}."
                raise InvalidDependency(msg)
    placeholders = dict.fromkeys(known, "-")
    return tuple({shape_and_values(_filled(dependency, placeholders))[0]: None for dependency in dependencies})


def _values_of(dependency: dep.Dependency) -> list[object]:
    match dependency:
        case dep.Topic(where=where):
            return list(where.values())
        case dep.Id(id=id_):
            return [id_]
        case dep.Tag(name=name):
            return [name]
        case dep.Call():
            return []
