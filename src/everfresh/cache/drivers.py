"""The drivers: they carry out what the rules ask for, one for blocking code and one for asyncio.

Both run the same generators, so both colours of function behave alike. A driver holds no rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from everfresh.cache.builds import Outcome, Run
from everfresh.cache.caching_errors import own_error
from everfresh.cache.engine import BoundCall, Engine
from everfresh.cache.finishing import finished
from everfresh.cache.flights import Party, landed
from everfresh.cache.holding import running
from everfresh.cache.keeper import running_loop
from everfresh.cache.looking import having_looked, having_looked_blocking
from everfresh.cache.running import blocking_result_of, result_of
from everfresh.cache.secrets import holds_secret, kept_secret, told_of
from everfresh.cache.tracking import open_frame
from everfresh.feed.bells import ringer
from everfresh.feed.wakers import Waiter
from everfresh.model.entry import Entry
from everfresh.model.errors import ArgumentNotSupported, BuildError, UnknownFunction
from everfresh.protocol.acknowledging import Pause
from everfresh.protocol.applying import Judge
from everfresh.protocol.outage import lease_alone
from everfresh.protocol.reading import read
from everfresh.protocol.requests import (
    STRICT,
    Bounds,
    Bring,
    Build,
    BuildAlone,
    BuildMany,
    Built,
    Call,
    Commit,
    Committed,
    Fail,
    GiveUp,
    Load,
    Loaded,
    LoadMany,
    Recall,
    Request,
    Resolve,
    Revalidate,
    Roll,
    Steps,
    Wait,
)
from everfresh.stores.store import STEPS

A = TypeVar("A")
T = TypeVar("T")
Revalidator = Callable[[BoundCall], None]

# Until a lease's end is seen in the store by its clock, which need not be ours.
_MIN_WAIT_S = 0.001
# Nearly all requests are of these, and need not be looked at one pattern after the other.
_FOR_THE_STORE_ALONE = frozenset(STEPS) - {Commit, Fail, GiveUp}
# Nothing is lost with one of these that was cut short.
_LOOKS = frozenset[type[Request[Any]]]({Load, LoadMany})


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
            result: T = stop.value
            return result

    def _carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        if type(request) in _FOR_THE_STORE_ALONE:
            return self._engine.store.carry_out(request)
        match request:
            case Build() | BuildMany():
                return _outcome_for(request, self._run(_run_of(self._engine, request)))
            case BuildAlone():
                return self._build_alone(request)
            case Wait():
                return self._wait(request)
            case Bring(call):
                return self._bring(_bound(call))
            case Pause(seconds):
                return time.sleep(seconds)
            case Revalidate() | Resolve() | Roll() | Judge() | Recall():
                return _carry_out_simple(self._engine, self._revalidate, request)
            case _:
                request = _signed(self._engine, request, self._role)
                answer = self._engine.store.carry_out(request)
                _announce(self._engine, self._role, request, answer)
                return answer

    def _bring(self, call: BoundCall) -> None:
        if call.spec.is_async and running_loop() is not None and self._engine.store.carry_out(Load(call.key)).is_leased:
            # A task of this very loop may be building it, and cannot go on while we wait.
            msg = f"{call.key}: blocking code in an event loop cannot wait for an async function that is being built."
            raise BuildError(msg)
        self.run(_bringing(call))

    def _run(self, run: Run) -> tuple[Outcome, ...]:
        with running(run, self._engine.keeper):
            started = time.perf_counter()
            try:
                give = partial(blocking_result_of, run, run.open(), is_refresh=self._role == "refresh")
                result = having_looked_blocking(run, self._engine.store, give)
                outcomes = run.done(result, time.perf_counter() - started)
            except Exception as error:  # noqa: BLE001 - whatever the function raises is kept for whoever asked
                outcomes = run.raised(error, time.perf_counter() - started)
            return _shared(self._engine, run, outcomes)

    def _build_alone(self, request: BuildAlone) -> tuple[Outcome, ...]:
        if running_loop() is not None:
            # A task of this very loop may be calling it, and cannot go on while we wait.
            return self._run(_run_of(self._engine, request))
        with Party(self._engine.flights, request) as party:
            while (todo := party.next()) is not None:
                if isinstance(todo, BuildAlone):
                    party.built(self._run(_run_of(self._engine, todo)))
                else:
                    futures.wait((todo.landed,), party.wait_s)
            return party.outcomes()

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
            raise own_error(waiter.error)


class AsyncDriver:
    """Carries out requests in the running event loop."""

    def __init__(self, engine: Engine, revalidate: Revalidator, role: str = "build") -> None:
        self._engine = engine
        self._revalidate = revalidate
        self._role = role
        self._blocking = BlockingDriver(engine, revalidate, role)

    async def run(self, steps: Steps[T]) -> T:
        """Run the rules to their end."""
        late: asyncio.CancelledError | None = None
        try:
            request = next(steps)
            while True:
                if late is not None and not isinstance(request, GiveUp):
                    # They end no more: they found a way to go on, for somebody who is not there any more.
                    error, late = late, None
                    request = steps.throw(error)
                    continue
                try:
                    answer = await self._carry_out(request)
                except BaseException as error:  # noqa: BLE001 - the rules decide what an error means, a cancellation too
                    if isinstance(request, GiveUp) and isinstance(error, asyncio.CancelledError):
                        # The step was finished, and the rules are ending already: they give back what else they hold.
                        late, request = error, steps.send(None)
                    else:
                        request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)
        except Exception as error:
            if late is None:
                raise
            raise late from error

    async def _carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        if type(request) in _LOOKS:
            return await self._engine.store.carry_out_async(request)
        match request:
            case Build() | BuildMany():
                return _outcome_for(request, await self._run(_run_of(self._engine, request)))
            case BuildAlone():
                return await self._build_alone(request)
            case Wait():
                return await self._wait(request)
            case Bring(call):
                return await self._bring(_bound(call))
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Revalidate() | Resolve() | Roll() | Judge() | Recall():
                return _carry_out_simple(self._engine, self._revalidate, request)
            case _:
                request = _signed(self._engine, request, self._role)
                answer = await finished(self._engine.store, request)
                _announce(self._engine, self._role, request, answer)
                return answer

    async def _run(self, run: Run) -> tuple[Outcome, ...]:
        with running(run, self._engine.keeper):
            started = time.perf_counter()
            try:
                # Calls of sync functions never come here: their whole way is gone in a thread.
                given = result_of(run, run.open(), is_refresh=self._role == "refresh")
                result = await having_looked(run, self._engine.store, given)
                outcomes = run.done(result, time.perf_counter() - started)
            except Exception as error:  # noqa: BLE001 - whatever the function raises is kept for whoever asked
                outcomes = run.raised(error, time.perf_counter() - started)
            return _shared(self._engine, run, outcomes)

    async def _bring(self, call: BoundCall) -> None:
        if call.spec.is_async:
            await self.run(_bringing(call))
            return
        # All of it in a thread, its commit too: a synchronous reader in this loop may be waiting for it.
        await asyncio.to_thread(self._blocking.run, _bringing(call))

    async def _build_alone(self, request: BuildAlone) -> tuple[Outcome, ...]:
        with Party(self._engine.flights, request) as party:
            while (todo := party.next()) is not None:
                if isinstance(todo, BuildAlone):
                    party.built(await self._run(_run_of(self._engine, todo)))
                else:
                    await landed(todo, party.wait_s)
            return party.outcomes()

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
            raise own_error(waiter.error)


def within_build(bounds: Bounds) -> Bounds:
    """Nothing stale is used by a build while it can be refreshed: what it makes would be stale at birth.

    Within a strict build nothing old stands in for a build that fails, either.
    """
    frame = open_frame()
    if bounds.is_strict or (frame is not None and frame.is_strict):
        return STRICT
    return Bounds(stale_if_error_s=bounds.stale_if_error_s)


def _bringing(call: Call) -> Steps[Entry]:
    """Read as a build would.

    Raises:
        RecursiveBuild: the call is being built, further up.
    """
    frame = open_frame()
    if frame is not None:
        frame.enter(call.key)
    return read(call, within_build(call.policy.bounds))


_Simple = Revalidate | Resolve | Roll | Judge | Recall


def _carry_out_simple(engine: Engine, revalidate: Revalidator, request: _Simple) -> Any:  # noqa: ANN401 - one answer type for each request
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
        case Judge():
            return engine.predicates.judge(request)
        case Recall(key):
            return engine.recall(key)


def _run_of(engine: Engine, request: Build | BuildMany | BuildAlone) -> Run:
    match request:
        case Build(call, lease, is_strict):
            return Run(engine, (call,), (lease,), is_strict=is_strict)
        case BuildMany(calls, leases, is_strict):
            return Run(engine, calls, leases, is_strict=is_strict)
        case BuildAlone(calls, is_strict):
            for call in calls:
                engine.board.tell("store.bypassed", key=call.key)
            alone = [lease_alone(call.key) for call in calls]
            return Run(engine, calls, alone, is_strict=is_strict, is_alone=True)


def _outcome_for(request: Build | BuildMany | BuildAlone, outcomes: tuple[Outcome, ...]) -> Built | tuple[Outcome, ...]:
    """What the request is answered with; the error of a single build is raised."""
    if not isinstance(request, Build):
        return outcomes
    (outcome,) = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _shared(engine: Engine, run: Run, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """The same; errors are given to those who wait for the builds too, unless they might not meet them themselves."""
    for lease, outcome in zip(run.leases, outcomes, strict=True):
        if isinstance(outcome, Exception):
            if run.spec.signature.secret:
                kept_secret(outcome)
            if run.is_alone:
                continue
            if holds_secret(outcome):
                engine.hushed[lease.begun.epoch, lease.token] = told_of(outcome)
            if not run.has_refused_old:
                # Each gets one like this, which the builder's caller does not have.
                engine.wakers.share(lease.key, lease.begun, own_error(outcome))
    return outcomes


def _signed(engine: Engine, request: Request[Any], role: str) -> Request[Any]:
    """The request; one that commits says, for people, who built, and one that failed says nothing secret."""
    match request:
        case Commit(lease=lease):
            engine.hushed.pop((lease.begun.epoch, lease.token), None)
            return replace(request, builder=_builder(role, os.getpid()))
        case Fail(lease=lease, reason=reason):
            return replace(request, reason=engine.hushed.pop((lease.begun.epoch, lease.token), reason))
        case GiveUp(lease):
            engine.hushed.pop((lease.begun.epoch, lease.token), None)
            return request
        case _:
            return request


@lru_cache(maxsize=4)
def _builder(role: str, pid: int) -> str:
    return f"{'worker' if role == 'refresh' else 'reader'} {platform.node()}:{pid}"


def _announce(engine: Engine, role: str, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - as above
    match request:
        case Commit():
            if isinstance(answer, Committed):
                engine.announce_commit(answer, role)
            else:
                engine.board.tell("lease.lost", key=request.lease.key)
        case Fail():
            engine.announce_failure(request, cast("Loaded", answer), role)
        case _:
            pass


def _bound(call: Call) -> BoundCall:
    """Every call that reaches a driver was bound by its engine."""
    return cast("BoundCall", call)
