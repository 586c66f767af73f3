"""Run: what surrounds one call of a user's function, whatever its colour: its frame, its context, what it gave.

A run builds one entry, or, for a function that loads many ids, one for each of them. What is tracked on the way counts
for all of them; what is declared counts for each with its own id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Any, cast

from everfresh.cache.caching_errors import encode_error, is_cached
from everfresh.cache.engine import Engine
from everfresh.cache.spec import BoundCall
from everfresh.cache.tracking import Frame
from everfresh.cache.values import LEFT_OUT
from everfresh.matching.shapes import Group, Shape, Values, grouped, shape_and_values
from everfresh.model import dependency as dep
from everfresh.model.entry import Lease
from everfresh.model.errors import ArgumentNotSupported, ValueNotSupported
from everfresh.protocol.requests import Built, Call, Seen

Outcome = Built | Exception
_Parts = list[tuple[Shape, Values]]


class Run:
    """One call of the function, under the leases of the entries that it builds.

    `open` it, call it in the context that this gives, and tell it how that ended: `done` or `raised`.
    """

    def __init__(self, engine: Engine, calls: Sequence[Call], leases: Sequence[Lease], *, is_strict: bool) -> None:
        # Every call that reaches a driver was bound by its engine.
        self.calls = [cast("BoundCall", call) for call in calls]
        self.leases = leases
        self.spec = self.calls[0].spec
        self._engine = engine
        self._is_strict = is_strict
        self._frame: Frame | None = None
        self._declared: list[_Parts] = []

    def open(self) -> Context:
        """The context to call it in.

        Raises:
            InvalidDependency: an argument cannot stand in a declared dependency.
        """
        keys = tuple(call.key for call in self.calls)
        frame = self._engine.frame(keys, self.leases, is_strict=self._is_strict)
        self._declared = [_declared(call, frame) for call in self.calls]
        self._frame = frame
        return self.spec.context(frame)

    def __call__(self) -> Any:  # noqa: ANN401 - whatever the user's function gives
        """Call the function."""
        arguments, ids = self.calls[0].arguments, self.spec.ids
        if ids is not None:
            arguments = arguments | {ids: [call.arguments[ids] for call in self.calls]}
        return self.spec.run(arguments)

    def done(self, result: object, build_s: float) -> tuple[Outcome, ...]:
        """What is to be stored for each call, or why nothing can be.

        Raises:
            ValueNotSupported: the result is none that can be stored.
        """
        ids = self.spec.ids
        values = (
            [result] if ids is None else _by_id(result, [call.arguments[ids] for call in self.calls], self.spec.name)
        )
        groups, seen = self._closed()
        return tuple(self._done(number, value, groups, seen, build_s) for number, value in enumerate(values))

    def raised(self, error: Exception, build_s: float) -> tuple[Outcome, ...]:
        """What is to be stored for each call when the function raised: the error, if it may be cached.

        Of several ids nobody can say which of them the error is about, so it is stored for none.
        """
        types = self.spec.cache_errors
        if self._frame is None or len(self.calls) > 1 or not is_cached(error, types):
            return (error,) * len(self.calls)
        try:
            data, digest = encode_error(error, types)
        except ArgumentNotSupported as why:
            error.add_note(f"everfresh: it is not cached, though cache_errors names it: {why}")
            return (error,)
        return (self._built(0, data, digest, *self._closed(), build_s, is_error=True),)

    def _done(
        self, number: int, value: object, groups: tuple[Group, ...], seen: tuple[Seen, ...], build_s: float
    ) -> Outcome:
        try:
            data, digest = self.spec.codec().encode(value)
        except ValueNotSupported as error:
            return error
        is_awaited = self._engine.predicates.is_awaited(self.spec, self.leases[number], value)
        return self._built(number, data, digest, groups, seen, build_s, is_awaited=is_awaited)

    def _built(  # noqa: PLR0913 - what the parts of a build gave
        self,
        number: int,
        data: bytes,
        digest: str,
        groups: tuple[Group, ...],
        seen: tuple[Seen, ...],
        build_s: float,
        *,
        is_error: bool = False,
        is_awaited: bool | None = None,
    ) -> Built:
        frame = cast("Frame", self._frame)
        return Built(
            value=data,
            digest=digest,
            groups=_merged(groups, self._declared[number], self.calls[number].watched),
            seen=seen,
            good_from=min(frame.good_from, self.leases[number].begun.sequence),
            build_s=build_s,
            expires_at=frame.expires_at,
            is_makeshift=frame.is_makeshift,
            is_error=is_error,
            is_private=frame.is_private,
            is_awaited=is_awaited,
        )

    def secrets(self) -> tuple[object, ...]:
        """The arguments that nobody is to see."""
        return tuple(call.arguments[name] for call in self.calls for name in self.spec.signature.secret)

    def _closed(self) -> tuple[tuple[Group, ...], tuple[Seen, ...]]:
        return cast("Frame", self._frame).close()


def _declared(call: BoundCall, frame: Frame) -> _Parts:
    """What the call declares of itself; what does not hang on its arguments goes into the frame."""
    parts: _Parts = []
    for dependency in call.spec.dependencies(call.arguments):
        if isinstance(dependency, dep.Call | dep.Undescribed):
            frame.add(dependency)
        else:
            # Its shape is known to the store since the lease was taken.
            parts.append(shape_and_values(dependency))
    return parts


def _merged(groups: tuple[Group, ...], parts: _Parts, watched: tuple[Group, ...]) -> tuple[Group, ...]:
    """All dependencies of one entry, grouped."""
    if not parts and not watched:
        return groups
    tracked = [(group.shape, values) for group in (*groups, *watched) for values in group.values]
    return grouped([*tracked, *parts])


def _by_id(result: object, ids: Sequence[object], name: str) -> list[object]:
    """The value of each id, or LEFT_OUT.

    Raises:
        ValueNotSupported: it is no dict, or one by something else.
    """
    if not isinstance(result, Mapping):
        msg = f"{name}: a function that loads many ids gives a dict of values by id, not {type(result).__qualname__}."
        raise ValueNotSupported(msg)
    values = cast("Mapping[object, object]", result)
    found = [values.get(id_, LEFT_OUT) for id_ in ids]
    if values and all(value is LEFT_OUT for value in found):
        key = next(iter(values))
        msg = (
            f"{name}: it was asked for {ids[0]!r} and gave {key!r}, and none of the ids asked for. Return values by id."
        )
        raise ValueNotSupported(msg)
    return found
