"""Reading many calls of one function that loads many keys at once: one look, one build, a commit for each.

Refreshing many is alike, under leases that were taken already. There a run that fails is done again in halves,
until what fails does so alone: the others are fresh about as soon as if each were built by itself.

Of very many there are several builds, one after the other: what one run gave is there for others before the next
begins. Own builds are committed before anybody else's are waited for, so two readers of overlapping keys never wait for
each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import assert_never

from everfresh.model.entry import Entry, Key, Lease
from everfresh.protocol.outage import despite_outage, kept_anyway, passed_on, rather_raising, read_alone
from everfresh.protocol.reading import (
    Rebuild,
    Serve,
    Settle,
    begin,
    commit,
    fail,
    fail_shared,
    give_back,
    is_built_since,
    may_stand_in,
    read,
    refresh,
    verdict,
)
from everfresh.protocol.requests import (
    Bounds,
    BuildMany,
    Built,
    Busy,
    Call,
    Loaded,
    LoadMany,
    NotNeeded,
    Policy,
    Revalidate,
    Roll,
    Steps,
    ask,
)
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES

# Few runs for many ids, and short enough lists for any database. Others who need one of the first ids wait for as many
# steps of the store, half a second of SQLite's.
MAX_AT_ONCE = 1_000
# After each failure the runs have an eighth of the size, or less: the fourth try is made alone.
_HALVINGS = 3
# So many runs that fail one after the other may be about the source: from then on they are of one entry.
_DOUBTFUL_AFTER = 2

_GoodFrom = Mapping[Key, int]
"""Where the store was at the look, for each key."""


def read_many(calls: Sequence[Call], bounds: Bounds) -> Steps[list[Entry]]:
    """An entry for each call, good enough for the bounds, in order; all calls are of one function.

    What the function raises is raised once all else that the same run built is committed.
    """
    if not calls:
        return []
    steps = _read_many(calls, bounds)
    return (yield from despite_outage(steps, calls, lambda: _read_alone(calls, bounds)))


def _read_alone(calls: Sequence[Call], bounds: Bounds) -> Steps[list[Entry]]:
    found: list[Entry] = []
    for start in range(0, len(calls), MAX_AT_ONCE):
        found += yield from read_alone(calls[start : start + MAX_AT_ONCE], bounds)
    return found


def _read_many(calls: Sequence[Call], bounds: Bounds) -> Steps[list[Entry]]:
    found: dict[Key, Entry] = {}
    missing, good_from = yield from _look(calls, bounds, found)
    held: dict[Key, Lease] = {}
    try:
        failures: list[Exception] = []
        for start in range(0, len(missing), MAX_AT_ONCE):
            failures = yield from _build_missing(missing[start : start + MAX_AT_ONCE], bounds, good_from, found, held)
            if failures:
                # The source is down, as a rule; each further run would wait for it.
                break
    except GeneratorExit:
        # The driver itself is gone; nobody would carry out another request. The leases expire.
        raise
    except BaseException:
        yield from give_back(held.values())
        raise
    if failures:
        raise passed_on(failures[0])
    for call in calls:
        if call.key not in found:
            # Somebody else builds it, or it wants what is below it settled: an ordinary read does both.
            found[call.key] = yield from read(call, bounds, good_from=good_from[call.key])
    return [found[call.key] for call in calls]


def refresh_many(calls: Sequence[Call], leases: Sequence[Lease]) -> Steps[None]:
    """Build entries whose turn it is together; each ends under its own lease, however that goes.

    Those whose builders died as often as they may fail are given up, and are no part of any run.
    """
    held = {lease.key: lease for lease in leases}
    try:
        for call, lease in zip(calls, leases, strict=True):
            if lease.n_died >= call.policy.max_attempts:
                yield from refresh(call, lease)
                del held[call.key]
        yield from _build_in_halves([call for call in calls if call.key in held], held)
    except GeneratorExit:
        # As above.
        raise
    except BaseException:
        yield from give_back(held.values())
        raise


def n_at_once(attempts: int, policy: Policy) -> int:
    """How many entries may be built in one run, whose builds have failed so often.

    What their builders died of may be one of them. The others are rid of it after a few tries, and at the last one.
    """
    return 1 if attempts + 1 >= policy.max_attempts > 1 else max(1, MAX_AT_ONCE >> (_HALVINGS * attempts))


def _look(calls: Sequence[Call], bounds: Bounds, found: dict[Key, Entry]) -> Steps[tuple[list[Call], _GoodFrom]]:
    """Take what is good enough; the calls that are left, each once, and where the store was, for each."""
    distinct = {call.key: call for call in calls}
    looked: tuple[Loaded, ...] = yield from ask(LoadMany(tuple(distinct), calls[0].fingerprint))
    good_from = {key: loaded.position.sequence for key, loaded in zip(distinct, looked, strict=True)}
    missing: list[Call] = []
    for call, loaded in zip(distinct.values(), looked, strict=True):
        judged = verdict(loaded, bounds, good_from[call.key])
        match judged:
            case Serve(entry, is_stale):
                found[call.key] = entry
                if is_stale:
                    yield from ask(Revalidate(call))
            case Rebuild():
                missing.append(call)
            case Settle():
                # An ordinary read settles what is below it, which may spare the build.
                pass
            case _:
                assert_never(judged)
    return missing, good_from


def _build_missing(
    missing: Sequence[Call], bounds: Bounds, good_from: _GoodFrom, found: dict[Key, Entry], held: dict[Key, Lease]
) -> Steps[list[Exception]]:
    """Build those whose lease can be had, in one run of the function; what it raised and nothing stands in for.

    `held` are the leases that are not ended yet, whatever is raised here.
    """
    yield from _take_leases(missing, good_from, held)
    ours = [call for call in missing if call.key in held]
    if not ours:
        return []
    outcomes = yield from _outcomes(ours, [held[call.key] for call in ours], is_strict=bounds.is_strict)
    roll = yield from _roll_for_all(outcomes)
    failures: list[Exception] = []
    for call, outcome in zip(ours, outcomes, strict=True):
        lease = held[call.key]
        if isinstance(outcome, Built):
            committed = yield from kept_anyway(commit(call, lease, outcome), call, lease, outcome)
            found[call.key] = committed.entry
            del held[call.key]
            continue
        steps = fail(call, lease, outcome) if roll is None else fail_shared(call, lease, outcome, roll)
        kept = yield from rather_raising(steps, outcome)
        del held[call.key]
        if kept.entry is not None and (is_built_since(kept, lease) or may_stand_in(kept.entry, kept.now, bounds)):
            found[call.key] = kept.entry
        else:
            failures.append(outcome)
    return failures


def _take_leases(missing: Sequence[Call], good_from: _GoodFrom, held: dict[Key, Lease]) -> Steps[None]:
    """Take those that can be had."""
    for call in missing:
        lease = yield from ask(begin(call, good_from[call.key]))
        match lease:
            case Lease():
                held[call.key] = lease
            case NotNeeded() | Busy():
                pass
            case _:
                assert_never(lease)


def _roll_for_all(outcomes: Sequence[Built | Exception]) -> Steps[float | None]:
    """One roll for entries whose run has failed, so that their next tries come together; else each has its own."""
    return None if len(outcomes) == 1 or _has_built(outcomes) else (yield from ask(Roll()))


def _build_in_halves(calls: Sequence[Call], held: dict[Key, Lease]) -> Steps[None]:
    """Build the calls, in one run if that works. `held` are the leases that are not ended yet, whatever is raised here.

    One entry that always fails costs two runs for each halving, at times a third. When as many fail alone as pause the
    function, and none was built between them, the source is down: the others are not tried, and no attempt of theirs is
    counted any more.
    """
    runs = deque([calls] if calls else [])
    n_failed = n_failed_alone = 0
    while runs:
        run = runs.popleft()
        if n_failed >= _DOUBTFUL_AFTER and len(run) > 1:
            runs.append(run[1:])
            run = run[:1]
        outcomes = yield from _outcomes(run, [held[call.key] for call in run], is_strict=False)
        if _has_built(outcomes):
            n_failed = n_failed_alone = 0
        elif len(run) > 1:
            n_failed += 1
            runs += (run[: len(run) // 2], run[len(run) // 2 :])
            continue
        else:
            n_failed, n_failed_alone = n_failed + 1, n_failed_alone + 1
        yield from _end(run, outcomes, held)
        if n_failed_alone >= BREAK_AFTER_FAILURES:
            left = [call for run in runs for call in run]
            yield from _end(left, [*outcomes] * len(left), held)
            return


def _has_built(outcomes: Sequence[Built | Exception]) -> bool:
    return any(isinstance(outcome, Built) for outcome in outcomes)


def _end(calls: Sequence[Call], outcomes: Sequence[Built | Exception], held: dict[Key, Lease]) -> Steps[None]:
    """Store what was built for each call, or note its failure."""
    for call, outcome in zip(calls, outcomes, strict=True):
        if isinstance(outcome, Built):
            yield from commit(call, held[call.key], outcome)
        else:
            yield from fail(call, held[call.key], outcome)
        del held[call.key]


def _outcomes(calls: Sequence[Call], leases: Sequence[Lease], *, is_strict: bool) -> Steps[Sequence[Built | Exception]]:
    """What the run gave for each call."""
    try:
        return (yield from ask(BuildMany(tuple(calls), tuple(leases), is_strict)))
    except Exception as error:  # noqa: BLE001 - whatever the function raises is kept for whoever asked
        return [error] * len(calls)
