"""The drivers: they carry out what the rules ask for, one for blocking code and one for asyncio.

Both run the same generators, so both colours of function behave alike. A driver holds no rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, TypeVar, cast

from everfresh.cache.engine import BoundCall, Engine
from everfresh.cache.tracking import current_frame
from everfresh.feed.bells import ringer
from everfresh.feed.wakers import Waiter
from everfresh.model.entry import Entry, Lease
from everfresh.model.errors import ArgumentNotSupported, BuildError, UnknownFunction
from everfresh.protocol.reading import read
from everfresh.protocol.requests import (
    Bounds,
    Bring,
    Build,
    Built,
    Call,
    Commit,
    Committed,
    Fail,
    GiveUp,
    Load,
    Loaded,
    Request,
    Resolve,
    Revalidate,
    Roll,
    Steps,
    TookDue,
    Wait,
)
from everfresh.stores.store import Store

A = TypeVar("A")
T = TypeVar("T")
Revalidator = Callable[[BoundCall], None]

# Until a lease's end is seen in the store by its clock, which need not be ours.
_MIN_WAIT_S = 0.001


class BlockingDriver:
    """Carries out requests in the calling thread."""

    def __init__(self, engine: Engine, revalidate: Revalidator, role: str = "build") -> None:
        self._engine = engine
        self._revalidate = revalidate
        self._role = role

    def run(self, steps: Steps[T]) -> T:
        """Run the rules to their end."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = self._carry_out(request)
                except BaseException as error:  # noqa: BLE001 - the rules decide what an error means, an interrupt too
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)

    def _carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        match request:
            case Build():
                return self._build(request)
            case Wait():
                return self._wait(request)
            case Bring(call):
                return self._bring(_bound(call))
            case Revalidate() | Resolve() | Roll():
                return _carry_out_simple(self._engine, self._revalidate, request)
            case _:
                answer = self._engine.store.carry_out(request)
                _announce(self._engine, self._role, request, answer)
                return answer

    def _bring(self, call: BoundCall) -> None:
        if call.spec.is_async and _is_in_event_loop() and self._engine.store.carry_out(Load(call.key)).is_leased:
            # A task of this very loop may be building it, and cannot go on while we wait.
            msg = f"{call.key}: blocking code in an event loop cannot wait for an async function that is being built."
            raise BuildError(msg)
        self.run(_bringing(call))

    def _build(self, request: Build) -> Built:
        engine, call = self._engine, _bound(request.call)
        with _sharing_errors(engine, request), engine.keeper.holding(request.lease, call.policy.lease_s):
            frame = engine.frame(call, request.lease)
            context = call.spec.context(frame)
            started = time.perf_counter()
            value = _run_coroutine(context, call) if call.spec.is_async else context.run(_call_function, call)
            return engine.built(call, frame, value, time.perf_counter() - started)

    def _wait(self, request: Wait) -> None:
        engine = self._engine
        woken = threading.Event()
        waiter = Waiter(woken.set, request.arrived)
        engine.wakers.add(request.key, waiter)
        try:
            engine.follower.poll()
            if engine.store.carry_out(Load(request.key)).is_leased:
                woken.wait(max(request.timeout_s, _MIN_WAIT_S))
        finally:
            engine.wakers.remove(request.key, waiter)
        if waiter.error is not None:
            raise waiter.error


class AsyncDriver:
    """Carries out requests in the running event loop."""

    def __init__(self, engine: Engine, revalidate: Revalidator, role: str = "build") -> None:
        self._engine = engine
        self._revalidate = revalidate
        self._role = role
        self._blocking = BlockingDriver(engine, revalidate, role)

    async def run(self, steps: Steps[T]) -> T:
        """Run the rules to their end."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = await self._carry_out(request)
                except BaseException as error:  # noqa: BLE001 - the rules decide what an error means, a cancellation too
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)

    async def _carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        match request:
            case Build():
                return await self._build(request)
            case Wait():
                return await self._wait(request)
            case Bring(call):
                return await self._bring(_bound(call))
            case Revalidate() | Resolve() | Roll():
                return _carry_out_simple(self._engine, self._revalidate, request)
            case _:
                answer = await finished(self._engine.store, request)
                _announce(self._engine, self._role, request, answer)
                return answer

    async def _build(self, request: Build) -> Built:
        engine, call = self._engine, _bound(request.call)
        with _sharing_errors(engine, request), engine.keeper.holding(request.lease, call.policy.lease_s):
            frame = engine.frame(call, request.lease)
            context = call.spec.context(frame)
            started = time.perf_counter()
            # Calls of sync functions never come here: their whole way is gone in a thread.
            value = await _task_in(context, call)
            return engine.built(call, frame, value, time.perf_counter() - started)

    async def _bring(self, call: BoundCall) -> None:
        if call.spec.is_async:
            await self.run(_bringing(call))
            return
        # All of it in a thread, its commit too: a synchronous reader in this loop may be waiting for it.
        await asyncio.to_thread(self._blocking.run, _bringing(call))

    async def _wait(self, request: Wait) -> None:
        engine = self._engine
        woken = asyncio.Event()
        waiter = Waiter(ringer(woken), request.arrived)
        engine.wakers.add(request.key, waiter)
        try:
            engine.follower.poll()
            if (await engine.store.carry_out_async(Load(request.key))).is_leased:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(request.timeout_s, _MIN_WAIT_S)):
                        await woken.wait()
        finally:
            engine.wakers.remove(request.key, waiter)
        if waiter.error is not None:
            raise waiter.error


async def finished(store: Store, request: Request[A]) -> A:
    """Carry out a step that is not lost to a cancellation: it is finished, and a lease that it gave is given back."""
    if not store.is_shared:
        return await store.carry_out_async(request)
    step = asyncio.ensure_future(store.carry_out_async(request))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        answer = await _to_the_end(step)
        for lease in _leases_in(answer):
            await _to_the_end(asyncio.ensure_future(store.carry_out_async(GiveUp(lease))))
        raise


async def _to_the_end(step: asyncio.Future[A]) -> A | None:
    """The answer of a step, whoever cancels meanwhile; None when it raised."""
    while not step.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([step])
    return None if step.cancelled() or step.exception() is not None else step.result()


def _leases_in(answer: object) -> tuple[Lease, ...]:
    match answer:
        case Lease():
            return (answer,)
        case TookDue(due):
            return tuple(one.lease for one in due)
        case _:
            return ()


def within_build(bounds: Bounds) -> Bounds:
    """Nothing stale is used by a build while it can be refreshed: what it makes would be stale at birth."""
    return Bounds(stale_if_error_s=bounds.stale_if_error_s)


def _bringing(call: Call) -> Steps[Entry]:
    """Read as a build would.

    Raises:
        RecursiveBuild: the call is being built, further up.
    """
    frame = current_frame.get()
    if frame is not None:
        frame.enter(call.key)
    return read(call, within_build(call.policy.bounds))


def _carry_out_simple(
    engine: Engine, revalidate: Revalidator, request: Revalidate | Resolve | Roll
) -> BoundCall | float | None:
    match request:
        case Revalidate(call):
            revalidate(_bound(call))
            return None
        case Resolve(key, recipe):
            try:
                return engine.resolve(key, recipe)
            except (UnknownFunction, ArgumentNotSupported):
                return None
        case Roll():
            return engine.dice()


@contextlib.contextmanager
def _sharing_errors(engine: Engine, request: Build) -> Generator[None]:
    """Give what the build raises to those who wait for it too."""
    try:
        yield
    except Exception as error:
        engine.wakers.share(request.call.key, request.lease.begun.sequence, error)
        raise


def _announce(engine: Engine, role: str, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - as above
    match request:
        case Commit():
            if isinstance(answer, Committed):
                engine.announce_commit(answer, role)
        case Fail():
            engine.announce_failure(request, cast("Loaded", answer), role)
        case _:
            pass


def _bound(call: Call) -> BoundCall:
    """Every call that reaches a driver was bound by its engine."""
    return cast("BoundCall", call)


def _call_function(call: BoundCall) -> Any:  # noqa: ANN401 - whatever the user's function gives
    bound = inspect.BoundArguments(call.spec.signature.signature, cast("Any", call.arguments))
    return call.spec.function(*bound.args, **bound.kwargs)


async def _task_in(context: Context, call: BoundCall) -> Any:  # noqa: ANN401 - as above
    """Run an async function in the context, which only a task of its own can have."""

    async def main() -> Any:  # noqa: ANN401 - as above
        return await _call_function(call)

    return await asyncio.get_running_loop().create_task(main(), context=context)


def _run_coroutine(context: Context, call: BoundCall) -> Any:  # noqa: ANN401 - as above
    """Run an async function to its end from blocking code, in an event loop of its own."""

    async def main() -> Any:  # noqa: ANN401 - as above
        return await _task_in(context, call)

    if not _is_in_event_loop():
        return asyncio.run(main())
    answer: list[Any] = []
    errors: list[BaseException] = []

    def in_thread() -> None:
        try:
            answer.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=in_thread, name="everfresh-build", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answer[0]


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
