"""Stepping: the rules of reading, building and publishing, carried out one request at a time.

A `Process` is what one process holds beside the store; a `Walk` is one run of the rules in it. Between two steps of a
walk a test does what it likes: lets another walk go on, publishes, moves the clock, or drops the walk, which is what
the death of a process looks like to all others.

A function may be plain, then its build is one step. As a generator it has a step wherever it says so:

    def review(build: Building) -> Steps[list[int]]:
        yield from build.track(Id("bug", 7))
        bug = yield from build.look(lambda: tracker.bugs[7])
        return [bug, (yield from build.call("comments"))]
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

import msgspec

from everfresh.cache.tracking import Frame
from everfresh.cache.values import Codec
from everfresh.feed.follower import Follower
from everfresh.feed.wakers import Waiter, Wakers
from everfresh.matching.index import Shapes
from everfresh.matching.shapes import shape_and_values
from everfresh.matching.triage import shapes_to_register
from everfresh.model.clock import Clock
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Entry, Key, Recipe
from everfresh.model.event import Event
from everfresh.protocol.publishing import Published, invalidate, publish
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.reading import read, rebuild, refresh
from everfresh.protocol.reading_many import read_many
from everfresh.protocol.requests import (
    STRICT,
    UNLIMITED,
    Bounds,
    Bring,
    Build,
    BuildMany,
    Built,
    Call,
    Load,
    Policy,
    Register,
    Request,
    Resolve,
    Revalidate,
    Roll,
    Steps,
    Wait,
    ask,
)
from everfresh.stores.store import Store
from everfresh.testing.calls import CallByHand

T = TypeVar("T")

_LEASE_S = 10.0


@dataclass(frozen=True, slots=True)
class Look(Request[T]):
    """Look at the world outside, in a step of its own."""

    at: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Function:
    """A cached function without arguments; its name is its key."""

    name: str
    run: Callable[[Building], object]
    depends_on: tuple[Dependency, ...] = ()
    policy: Policy = field(default_factory=Policy)

    def call(self) -> Call:
        """The one call that there is of it."""
        return CallByHand(
            key=Key(self.name),
            made=Recipe(self.name, b""),
            fingerprint="",
            shapes=tuple(shape_and_values(dependency)[0] for dependency in self.depends_on),
            policy=self.policy,
        )


class Building:
    """What a function can ask for while it builds."""

    def __init__(self, frame: Frame, call_of: Callable[[str], Call]) -> None:
        self._frame = frame
        self._call_of = call_of

    def look(self, at: Callable[[], T]) -> Steps[T]:
        """What is seen outside, in a step of its own."""
        return (yield from ask(Look(at)))

    def track(self, dependency: Dependency) -> Steps[None]:
        """Depend on it; the store knows its shape before the function goes on."""
        shapes = tuple(shapes_to_register([shape_and_values(dependency)[0]]))
        if shapes:
            yield from ask(Register(shapes))
        self._frame.add(dependency)

    def call(self, name: str) -> Steps[Any]:
        """The value of another function, never a stale one unless that one's source fails and it may stand in."""
        call = self._call_of(name)
        self._frame.enter(call.key)
        try:
            entry = yield from read(call, self._bounds(call))
        except Exception:
            found = (yield from ask(Load(call.key, call.fingerprint))).entry
            self._frame.stumbled(call.key, found, takes_old=call.policy.bounds.stale_if_error_s > 0)
            raise
        self._frame.saw(call.key, entry)
        return msgspec.msgpack.decode(entry.value)

    def _bounds(self, call: Call) -> Bounds:
        """As a driver has it: nothing stale, but in place of a build that fails, unless the outer one is strict."""
        return STRICT if self._frame.is_strict else Bounds(stale_if_error_s=call.policy.bounds.stale_if_error_s)

    def peek(self, name: str) -> Steps[Any]:
        """The stored value of another function, or one that was put, whatever its state; None if there is none."""
        entry = (yield from ask(Load(Key(name)))).entry
        self._frame.saw(Key(name), entry)
        return None if entry is None else msgspec.msgpack.decode(entry.value)


class Process:
    """One process: its functions, the shapes that it knows, and who waits in it."""

    def __init__(self, store: Store, functions: Iterable[Function], clock: Clock, *, roll: float = 1.0) -> None:
        self.store = store
        self.clock = clock
        self.wakers = Wakers()
        self.follower = Follower(store)
        self.follower.add(self.wakers)
        self._functions = {function.name: function for function in functions}
        self.shapes = Shapes()
        """The shapes that it knows."""
        self._roll = roll

    def walk(self, steps: Steps[T]) -> Walk[T]:
        """Any rules, run in this process."""
        return Walk(self, steps)

    def read(self, name: str, bounds: Bounds = STRICT) -> Walk[Entry]:
        """A reader of the function's value."""
        return Walk(self, read(self.call(name), bounds))

    def read_many(self, names: Sequence[str], bounds: Bounds = STRICT) -> Walk[list[Entry]]:
        """A reader of several values at once; none of the functions may call another of them."""
        return Walk(self, read_many([self.call(name) for name in names], bounds))

    def rebuild(self, name: str) -> Walk[Entry]:
        """Somebody who wants a value whose build begins now."""
        return Walk(self, rebuild(self.call(name)))

    def publish(self, *events: Event) -> Walk[Published]:
        """A publisher."""
        return Walk(self, publish(events, self.shapes))

    def invalidate(self, *dependencies: Dependency) -> Walk[Published]:
        """Somebody who touches by name."""
        return Walk(self, invalidate(dependencies, self.shapes))

    def refresh(self) -> Walk[bool]:
        """A worker that refreshes the most urgent entry, if one is due; whether there may be more."""
        return Walk(self, self._refresh())

    def drain(self) -> None:
        """Refresh until nothing is due."""
        while self.refresh().run():
            pass

    def call(self, name: str) -> Call:
        """The call of a function."""
        return self._functions[name].call()

    def carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        """Carry out a request that is one step."""
        match request:
            case Look(at):
                return at()
            case Roll():
                return self._roll
            case Revalidate():
                # The worker's business, as in a process that has one.
                return None
            case Resolve(recipe=recipe):
                return self.call(recipe.function) if recipe.function in self._functions else None
            case _:
                return self.store.carry_out(request)

    def taken_apart(self, steps: Steps[T], outer: Frame | None = None) -> Steps[T]:
        """The same steps, with what a driver would run as a whole in its place: builds, and readings below.

        `outer` is the frame of the build that needs it.
        """
        resume: Callable[[], Request[Any]] = partial(next, steps)
        while True:
            try:
                request = resume()
            except StopIteration as stop:
                return cast("T", stop.value)
            try:
                answer = yield from self._part(request, outer)
            except GeneratorExit:
                # The walk was dropped: its process died.
                raise
            except BaseException as error:  # noqa: BLE001 - the rules decide what an error means, a cancellation too
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, answer)

    def _part(self, request: Request[Any], outer: Frame | None) -> Steps[Any]:
        match request:
            case Build():
                return (yield from self._build(request, outer))
            case BuildMany():
                return (yield from self._build_many(request, outer))
            case Bring(call):
                return (yield from self.taken_apart(read(call, STRICT), outer))
            case _:
                return (yield request)

    def _build_many(self, request: BuildMany, outer: Frame | None) -> Steps[tuple[Built | Exception, ...]]:
        """One run for all, as of a function that looks at one after the other."""
        outcomes: list[Built | Exception] = []
        for call, lease in zip(request.calls, request.leases, strict=True):
            try:
                outcomes.append((yield from self._build(Build(call, lease, request.is_strict), outer)))
            except Exception as error:  # noqa: BLE001 - the rules decide what an error means
                outcomes.append(error)
        return tuple(outcomes)

    def _build(self, request: Build, outer: Frame | None) -> Steps[Built]:
        call, lease = request.call, request.lease
        function = self._functions[call.key]
        frame = Frame(
            (*(() if outer is None else outer.chain), call.key),
            lease.begun,
            tell=_told,
            see=self._see,
            outer=outer,
            is_strict=request.is_strict,
        )
        for dependency in function.depends_on:
            frame.add(dependency)
        try:
            value = function.run(Building(frame, self.call))
            if isinstance(value, Generator):
                value = yield from self.taken_apart(cast("Steps[object]", value), frame)
            codec: Codec[Any] = Codec(Any, call.key)
            data, digest = codec.encode(value)
        except Exception as error:
            if not frame.has_refused_old:
                self.wakers.share(call.key, lease.begun, error)
            raise
        groups, seen = frame.close()
        return Built(
            value=data,
            digest=digest,
            groups=groups,
            seen=seen,
            good_from=frame.good_from,
            build_s=0.0,
            expires_at=frame.expires_at,
            is_makeshift=frame.is_makeshift,
        )

    def _see(self, key: Key) -> Entry | None:
        return self.store.carry_out(Load(key)).entry

    def _refresh(self) -> Steps[bool]:
        took = yield from ask(TakeDue(dict.fromkeys(self._functions, UNLIMITED), 1, _LEASE_S))
        for due in took.due:
            yield from refresh(self.call(due.recipe.function), due.lease)
        # None taken, and yet one due: what was due is gone, for example a first build whose builder died.
        return bool(took.due) or (took.next_due is not None and took.next_due <= took.now)


class Cancelled(BaseException):
    """Whoever wanted the result of a walk does not want it any more."""


class Walk(Generic[T]):
    """One run of the rules, standing before its next request. Drop it, and its process died at this point."""

    def __init__(self, process: Process, steps: Steps[T]) -> None:
        self._process = process
        self._steps = process.taken_apart(steps)
        self._waiter: Waiter | None = None
        self._wait_until = 0.0
        self._is_woken = False
        self._value: T | None = None
        self.error: Exception | Cancelled | None = None
        """What the run raised at its end."""
        self.request: Request[Any] | None = None
        """What the next step carries out; None at the end."""
        self._resume(partial(next, self._steps))

    @property
    def is_over(self) -> bool:
        """Whether the run came to its end."""
        return self.request is None

    @property
    def is_blocked(self) -> bool:
        """Whether it waits for somebody else, or for its time."""
        if self._waiter is None:
            return False
        self._process.follower.confirm()
        return not self._is_woken and self._process.clock() < self._wait_until

    @property
    def value(self) -> T:
        """What the run gave; what it raised is raised."""
        if self.error is not None:
            raise self.error
        return cast("T", self._value)

    def step(self) -> None:
        """Carry out one request and go on to the next; nothing happens while the run is blocked or over."""
        if self.request is None or self.is_blocked:
            return
        try:
            answer = self._carry_out(self.request)
        except Exception as error:  # noqa: BLE001 - the rules decide what an error means
            self._resume(partial(self._steps.throw, error))
            return
        if self._waiter is None:
            self._resume(partial(self._steps.send, answer))

    def cancel(self) -> None:
        """Let the request that comes next be cancelled instead; what the run still has to do follows in steps."""
        if self.request is None:
            return
        if isinstance(self.request, Wait) and self._waiter is not None:
            self._process.wakers.remove(self.request.key, self._waiter)
            self._waiter = None
        self._resume(partial(self._steps.throw, Cancelled()))

    def run(self) -> T:
        """Go on to the end.

        Raises:
            AssertionError: it is blocked, and only somebody else can free it.
        """
        while not self.is_over:
            if self.is_blocked:
                msg = f"blocked at {self.request}"
                raise AssertionError(msg)
            self.step()
        return self.value

    def _carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        if not isinstance(request, Wait):
            return self._process.carry_out(request)
        self._wait(request)
        return None

    def _wait(self, request: Wait) -> None:
        """Begin to wait if somebody holds the lease; the second time, end it."""
        wakers = self._process.wakers
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            wakers.remove(request.key, waiter)
            if waiter.error is not None:
                raise waiter.error
            return
        waiter = Waiter(self._wake, request.arrived)
        self._is_woken = False
        wakers.add(request.key, waiter)
        if not self._process.carry_out(Load(request.key)).is_leased:
            wakers.remove(request.key, waiter)
            return
        self._waiter, self._wait_until = waiter, self._process.clock() + request.timeout_s

    def _wake(self) -> None:
        self._is_woken = True

    def _resume(self, resume: Callable[[], Request[Any]]) -> None:
        try:
            self.request = resume()
        except StopIteration as stop:
            self.request, self._value = None, stop.value
        except (Exception, Cancelled) as error:  # noqa: BLE001 - kept for whoever asks for the value
            self.request, self.error = None, error


def _told(shape: object) -> None:
    """Each shape was registered in a step of its own."""
