"""Run: what surrounds one call of a user's function, whatever its colour: its frame, its context, what it gave.

A run builds one entry, or, for a function that loads many ids, one for each of them. What is tracked on the way counts
for all of them; what is declared counts for each with its own id.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, cast

from everfresh.cache.caching_errors import encode_error, is_cached
from everfresh.cache.engine import Engine
from everfresh.cache.signatures import Arguments
from everfresh.cache.spec import BoundCall, Spec
from everfresh.cache.tracking import Frame
from everfresh.cache.values import LEFT_OUT
from everfresh.matching.shapes import Group, Shape, Values, grouped, shape_and_values
from everfresh.model import dependency as dep
from everfresh.model.entry import Entry, Key, Lease
from everfresh.model.errors import ArgumentNotSupported, ValueNotSupported
from everfresh.protocol.requests import Built, Call, Seen

Outcome = Built | Exception
_Parts = list[tuple[Shape, Values]]


class Runs:
    """The runs of this process, counted; safe from every thread."""

    def __init__(self) -> None:
        self._n_begun = 0
        self._n_under_way = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """One run begins; whoever says so says its `end` too."""
        with self._lock:
            self._n_begun += 1
            self._n_under_way += 1

    def end(self) -> None:
        """One run has ended."""
        with self._lock:
            # What forked in the middle of its own run was begun in another process.
            self._n_under_way = max(self._n_under_way - 1, 0)

    def mark(self) -> int:
        """A mark of now, for `is_quiet_since`."""
        with self._lock:
            return -1 if self._n_under_way else self._n_begun

    def is_quiet_since(self, mark: int) -> bool:
        """Whether none was under way at the mark, and none has begun since."""
        with self._lock:
            return mark == self._n_begun

    def start_over(self) -> None:
        """In a forked child: the threads that run something, or hold the lock, are the parent's alone."""
        self._n_under_way = 0
        self._lock = threading.Lock()


runs = Runs()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=runs.start_over)


class Run:
    """One call of the function, under the leases of the entries that it builds.

    `open` it, call it in the context that this gives, and tell it how that ended: `done` or `raised`.

    The caller goes on using its lists and dicts while, or before, this runs; so it runs with arguments of its own.
    """

    def __init__(
        self, engine: Engine, calls: Sequence[Call], leases: Sequence[Lease], *, is_strict: bool, is_alone: bool = False
    ) -> None:
        # Every call that reaches a driver was bound by its engine.
        self.calls = [cast("BoundCall", call) for call in calls]
        self.leases = leases
        self.spec = self.calls[0].spec
        self._engine = engine
        self.is_alone = is_alone
        """Whether the store has no part in it."""
        self._is_strict = is_strict
        self._frame: Frame | None = None
        self._arguments: list[Arguments] = []
        self._declared: list[_Parts] = []

    def open(self) -> Context:
        """The context to call it in.

        Raises:
            InvalidDependency: an argument cannot stand in a declared dependency.
            ArgumentNotSupported: an argument cannot be made again.
        """
        keys = tuple(call.key for call in self.calls)
        frame = self._engine.frame(keys, self.leases, is_strict=self._is_strict, is_alone=self.is_alone)
        own = self.spec.signature.own
        self._arguments = [own(call.arguments, call.recipe.arguments) for call in self.calls]
        self._declared = [_declared(self.spec, arguments, frame) for arguments in self._arguments]
        self._frame = frame
        return self.spec.context(frame)

    def __call__(self) -> Any:  # noqa: ANN401 - whatever the user's function gives
        """Call the function."""
        arguments, ids = self._arguments[0], self.spec.ids
        if ids is not None:
            arguments = arguments | {ids: self._ids(ids)}
        return self.spec.run(arguments)

    def done(self, result: object, build_s: float) -> tuple[Outcome, ...]:
        """What is to be stored for each call, or why nothing can be.

        Raises:
            ValueNotSupported: the result is none that can be stored.
        """
        ids = self.spec.ids
        values = [result] if ids is None else _by_id(result, self._ids(ids), self.spec.name)
        groups, seen = self._closed()
        return tuple(self._done(number, value, groups, seen, build_s) for number, value in enumerate(values))

    def raised(self, error: Exception, build_s: float) -> tuple[Outcome, ...]:
        """What is to be stored for each call when the function raised: the error, if it may be cached.

        Of several ids nobody can say which of them the error is about, so it is stored for none.
        """
        types = self.spec.cache_errors
        if self._frame is None or len(self.calls) > 1 or not is_cached(error, types):
            return (_passing(error, self.spec.name),) * len(self.calls)
        try:
            data, digest = encode_error(error, types)
        except ArgumentNotSupported as why:
            # One that is frozen takes no note.
            with suppress(Exception):
                error.add_note(f"everfresh: it is not cached, though cache_errors names it: {why}")
            return (error,)
        return (self._built(0, data, digest, *self._closed(), build_s, is_error=True),)

    @property
    def owed(self) -> tuple[Key, ...]:
        """The entries that are to be looked at when the function has ended."""
        return () if self._frame is None else self._frame.owed

    def saw_late(self, key: Key, entry: Entry | None) -> None:
        """One of them was looked at."""
        cast("Frame", self._frame).saw_late(key, entry)

    def end(self) -> None:
        """Whatever still runs in its context is no part of a build any more."""
        if self._frame is not None and self._frame.is_open:
            self._frame.close()

    @property
    def has_refused_old(self) -> bool:
        """Whether it failed, or may have, only for being strict: another build would have taken an old value."""
        return self._frame is not None and self._frame.has_refused_old

    def _done(
        self, number: int, value: object, groups: tuple[Group, ...], seen: tuple[Seen, ...], build_s: float
    ) -> Outcome:
        try:
            data, digest = self.spec.codec().encode(value)
        except ValueNotSupported as error:
            return error
        seen_by_users = None if value is LEFT_OUT else value
        is_awaited = self._engine.predicates.is_awaited(self.spec, self.leases[number], seen_by_users)
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

    def _ids(self, parameter: str) -> list[Any]:
        return [arguments[parameter] for arguments in self._arguments]

    def _closed(self) -> tuple[tuple[Group, ...], tuple[Seen, ...]]:
        return cast("Frame", self._frame).close()


def _passing(error: Exception, name: str) -> Exception:
    """The error, as it can pass through rules, which are generators. A coroutine makes the same of it."""
    if not isinstance(error, StopIteration):
        return error
    passing = RuntimeError(f"{name}: the function raised StopIteration")
    passing.__cause__ = error
    return passing


def _declared(spec: Spec, arguments: Arguments, frame: Frame) -> _Parts:
    """What the call declares of itself; what does not hang on its arguments goes into the frame."""
    parts: _Parts = []
    for dependency in spec.dependencies(arguments):
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
