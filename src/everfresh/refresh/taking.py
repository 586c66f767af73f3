"""Taking: what a lane asks the queue for, what it tells of the answer, and when it looks again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

from everfresh.cache.engine import BoundCall, Engine, Spec
from everfresh.cache.secrets import told_of
from everfresh.cache.signatures import SignatureOfOne
from everfresh.feed.listeners import Listener
from everfresh.model.entry import FeedRecord, Kind, Lease
from everfresh.model.errors import ArgumentNotSupported, UnknownFunction
from everfresh.model.marks import override
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.reading import refresh
from everfresh.protocol.reading_many import MAX_AT_ONCE, n_at_once, refresh_many
from everfresh.protocol.requests import Fail, Steps

# How often the queue is looked at when nothing rings: for leases of builders that died elsewhere.
LOOK_EVERY_S = 1.0
_MAY_BE_DUE = frozenset({Kind.STALE, Kind.FAILED})


class Bell(Listener):
    """Rings when something may have fallen due for functions of one colour; from any thread."""

    def __init__(self, engine: Engine, ring: Callable[[], object], *, is_async: bool) -> None:
        self._engine = engine
        self._ring = ring
        self._is_async = is_async

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> bool:
        return (any(record.kind in _MAY_BE_DUE for record in records) or self._is_held_back()) and self._rings()

    @override
    def on_reset(self) -> None:
        self._rings()

    def _rings(self) -> bool:
        # To wake somebody for nothing costs those who have something to do.
        if any(spec.is_async == self._is_async for spec in specs_of(self._engine)):
            self._ring()
            return True
        return False

    def _is_held_back(self) -> bool:
        """Whether the end of any build, in another process too, may let another begin."""
        return any(spec.policy.limit.n_at_once is not None for spec in specs_of(self._engine))


def specs_of(engine: Engine) -> list[Spec]:
    """The functions as they are now; others may be declared meanwhile."""
    return list(engine.functions.values())


def take_request(engine: Engine, n_free: int, *, is_async: bool) -> TakeDue | None:
    """What to ask the queue for; None when there is no room or no function of this colour."""
    specs = [spec for spec in specs_of(engine) if spec.is_async == is_async]
    if not n_free or not specs:
        return None
    # A build renews the lease by its own function's length.
    lease_s = min(spec.policy.lease_s for spec in specs)
    return TakeDue({spec.name: spec.policy.limit for spec in specs}, n_free, lease_s)


def more_of(engine: Engine, request: TakeDue, took: TookDue) -> list[TakeDue]:
    """What to ask the queue for besides: more of the functions of many ids that fill it, as one run may build it all.

    Not where more would be several runs, while others could build it: of functions with further arguments, or whose
    builds have failed.
    """
    if len(took.due) < request.n_max:
        return []
    failed = {due.recipe.function for due in took.due if due.lease.attempts}
    n_taken = Counter(due.recipe.function for due in took.due)
    return [
        TakeDue({name: request.functions[name]}, MAX_AT_ONCE - n, spec.policy.lease_s)
        for name, n in n_taken.items()
        if (spec := engine.functions[name]).ids is not None
        and spec.signature.takes_one
        and name not in failed
        and n < MAX_AT_ONCE
    ]


def runs_of(engine: Engine, due: Sequence[Due]) -> list[list[Due]]:
    """The entries by the run that builds them, in order of the first of each.

    Entries of a function of many ids that differ in nothing but the id are built in one, others by themselves.
    """
    runs: list[list[Due]] = []
    open_runs: dict[tuple[str, bytes, int], list[Due]] = {}
    for one in due:
        spec = engine.functions.get(one.recipe.function)
        if spec is None or not isinstance(spec.signature, SignatureOfOne):
            runs.append([one])
            continue
        n_max = n_at_once(one.lease.attempts, spec.policy)
        try:
            kind = (spec.name, spec.signature.further(one.recipe.arguments), n_max)
        except msgspec.MsgspecError:
            # Whoever builds it finds that out too, and tells.
            runs.append([one])
            continue
        run = open_runs.get(kind)
        if run is None or len(run) >= n_max:
            run = open_runs[kind] = []
            runs.append(run)
        run.append(one)
    return runs


def tell_dropped(engine: Engine, took: TookDue) -> None:
    """Report the entries that were dropped instead of refreshed."""
    for key in took.expired:
        engine.board.tell("job.expired", key=key)
    for key in took.cold:
        engine.board.tell("refresh.cold", key=key)


def calls_of(engine: Engine, run: Sequence[Due]) -> tuple[list[BoundCall], list[Lease], list[Fail]]:
    """The calls that build the entries, with their leases; and the ends of those that this process cannot build."""
    calls: list[BoundCall] = []
    leases: list[Lease] = []
    refusals: list[Fail] = []
    for due in run:
        try:
            calls.append(engine.resolve(due.lease.key, due.recipe))
        except (UnknownFunction, ArgumentNotSupported) as error:
            refusals.append(refusal(due, error))
        else:
            leases.append(due.lease)
    return calls, leases, refusals


def steps_of(engine: Engine, calls: Sequence[BoundCall], leases: Sequence[Lease]) -> Steps[object]:
    """The rules for a run."""
    return refresh(calls[0], leases[0]) if len(calls) == 1 else _holding(engine, calls, leases)


def _holding(engine: Engine, calls: Sequence[BoundCall], leases: Sequence[Lease]) -> Steps[None]:
    """The rules for many; the last lease is renewed until its value is stored, long after the run has ended."""
    with ExitStack() as stack:
        for call, lease in zip(calls, leases, strict=True):
            stack.enter_context(engine.keeper.holding(lease, call.policy.lease_s))
        yield from refresh_many(calls, leases)


def refusal(due: Due, error: Exception) -> Fail:
    """End the lease of an entry that this process cannot build, for good."""
    return Fail(lease=due.lease, fingerprint=None, reason=told_of(error), retry_in_s=None)


def pause_s(request: TakeDue | None, took: TookDue | None) -> float:
    """How long the queue can be left alone when nothing rings."""
    if request is None or took is None:
        return LOOK_EVERY_S
    if len(took.due) + len(took.expired) + len(took.cold) >= request.n_max:
        # There may be more of what was taken.
        return 0.0
    if took.next_due is None:
        return LOOK_EVERY_S
    return min(max(took.next_due - took.now, 0.0), LOOK_EVERY_S)
