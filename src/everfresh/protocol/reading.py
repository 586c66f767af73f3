"""Reading, building, settling: how a reader gets a value that is good enough, and who builds it.

    read ──▶ Load ──good──▶ serve
              │ └─within bounds─▶ serve, Revalidate
              │ └─suspect──▶ settle what is below, look again
              ▼
            Begin ──not needed──▶ look again
              │ └─busy──▶ Wait, look again
              ▼
            Build ──▶ Commit ──▶ serve            Build raises ──▶ Fail ──▶ the last good value within bounds, or raise

Invariants
- What a reader is served is settled, or was built from a position not below the one at which the reader arrived, or is
  within the bounds that were declared.
- A lease that was taken is always ended: by Commit, Fail or GiveUp; or it expires, when the process dies.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from everfresh.model.entry import Entry, Key, Lease, State
from everfresh.model.errors import BuildError, WaitTimeout
from everfresh.model.position import Position
from everfresh.protocol.outage import despite_outage, kept_anyway, passed_on, rather_raising, read_alone
from everfresh.protocol.requests import (
    NOTHING_OLD,
    Begin,
    Bounds,
    Bring,
    Build,
    Built,
    Busy,
    Call,
    Commit,
    Committed,
    Fail,
    GiveUp,
    Load,
    Loaded,
    NotNeeded,
    Overtaken,
    Policy,
    Resolve,
    Revalidate,
    Roll,
    Steps,
    Wait,
    ask,
)
from everfresh.protocol.unstored import unstored_entry


@dataclass(frozen=True, slots=True)
class Serve:
    """The entry is good enough; with `is_stale`, only within the bounds, and a refresh should begin."""

    entry: Entry
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """The entry is good if what is below it comes out equal."""

    keys: tuple[Key, ...]
    entry: Entry


@dataclass(frozen=True, slots=True)
class Rebuild:
    """There is no value that may be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queueing:
    """When a reader came: by the store's clock, and by the events applied last."""

    since: float
    arrived: Position


@dataclass(frozen=True, slots=True)
class Failure:
    """A build raised; what is kept may stand in."""

    error: Exception
    kept: Loaded


def is_settled(entry: Entry, now: float) -> bool:
    """Whether no applied event is known that the entry might miss, and it is not over by time."""
    return entry.stale_since is None and not entry.is_over(now)


def verdict(loaded: Loaded, bounds: Bounds, good_from: int) -> Serve | Settle | Rebuild:
    """What a reader does with what it found, when values as of `good_from` or later are good whatever their state."""
    entry = loaded.entry
    if entry is None:
        return Rebuild()
    has_expired = entry.is_over(loaded.now)
    if is_settled(entry, loaded.now) or (entry.position.sequence >= good_from and not has_expired):
        return Serve(entry)
    is_failing = _is_failing(entry, loaded.now)
    # No refresh is due for what has failed for good, so that only the other bound speaks for it.
    if entry.state is not State.FAILED and _is_within(entry, loaded.now, bounds.stale_while_revalidate_s):
        return Serve(entry, is_stale=not is_failing)
    if is_failing:
        return Serve(entry) if may_stand_in(entry, loaded.now, bounds) else Rebuild()
    if entry.state is State.SUSPECT and loaded.unsettled:
        return Settle(loaded.unsettled, entry)
    return Rebuild()


def may_stand_in(entry: Entry, now: float, bounds: Bounds) -> bool:
    """Whether the last good value may be served in place of a build that fails."""
    return _is_within(entry, now, bounds.stale_if_error_s)


def retry_in_s(attempts: int, policy: Policy, roll: float) -> float | None:
    """How long to wait after so many failed builds: exponential with full jitter; None when it was the last try."""
    if attempts >= policy.max_attempts:
        return None
    # Beyond 2**32 the longest wait decides anyway, and floats would overflow.
    longest = min(policy.longest_retry_s, policy.first_retry_s * 2.0 ** min(attempts - 1, 32))
    return longest * roll


def read(call: Call, bounds: Bounds, *, good_from: int | None = None) -> Steps[Entry]:
    """An entry that is good enough for the bounds, built if need be.

    With `good_from`, a value as of that sequence or later is good; else it must not miss what was applied before now.
    The entry may be one that was not stored: then its state is not fresh.
    """
    (entry,) = yield from despite_outage(_read(call, bounds, good_from), [call], lambda: read_alone([call], bounds))
    return entry


def _read(call: Call, bounds: Bounds, good_from: int | None) -> Steps[list[Entry]]:
    first: Loaded | None = None
    # Whether what is below was brought up to date, None before it was tried.
    is_settled_below: bool | None = None
    while True:
        loaded = yield from ask(Load(call.key, call.fingerprint))
        good_from = loaded.position.sequence if good_from is None else good_from
        first = first or loaded
        match verdict(loaded, bounds, good_from):
            case Serve(entry, is_stale):
                if is_stale:
                    yield from ask(Revalidate(call))
                return [entry]
            case Settle(_, entry) if is_settled_below is False and may_stand_in(entry, loaded.now, bounds):
                # Its own build would meet the same failure, and this value may stand in for that.
                return [entry]
            case Settle(keys) if is_settled_below is None:
                is_settled_below = yield from settle(keys)
            case _:
                found = yield from _build_or_wait(call, bounds, _queueing(first), good_from)
                if found is not None:
                    return [found]


def _queueing(loaded: Loaded) -> _Queueing:
    return _Queueing(since=loaded.now, arrived=Position(loaded.position.epoch, loaded.applied))


def _build_or_wait(call: Call, bounds: Bounds, queueing: _Queueing, good_from: int | None) -> Steps[Entry | None]:
    """Build, or wait for who does; None when it is time to look again."""
    lease = yield from ask(begin(call, good_from))
    match lease:
        case NotNeeded():
            return None
        case Busy():
            return (yield from _wait(call, bounds, lease, queueing))
        case Lease():
            return (yield from build(call, lease, bounds))
        case _:
            assert_never(lease)


def begin(call: Call, good_from: int | None) -> Begin:
    """The request for the call's lease."""
    return Begin(
        key=call.key,
        recipe=call.recipe,
        fingerprint=call.fingerprint,
        shapes=call.shapes,
        lease_s=call.policy.lease_s,
        good_from=good_from,
        terms=call.policy.terms,
        watched=call.watched,
    )


def rebuild(call: Call) -> Steps[Entry]:
    """An entry whose build began after now, whatever is stored; shared with others who build it."""
    return (yield from despite_outage(_rebuild(call), [call], None))


def _rebuild(call: Call) -> Steps[Entry]:
    loaded = yield from ask(Load(call.key, call.fingerprint))
    arrived = loaded.position.sequence
    queueing = _queueing(loaded)
    while True:
        found = yield from _build_or_wait(call, NOTHING_OLD, queueing, None)
        if found is not None:
            return found
        loaded = yield from ask(Load(call.key, call.fingerprint))
        if loaded.entry is not None and loaded.entry.position.sequence >= arrived:
            return loaded.entry


def build(call: Call, lease: Lease, bounds: Bounds) -> Steps[Entry]:
    """Build under a lease that was taken; what the function raises is raised unless the last value may stand in."""
    outcome = yield from attempt(call, lease, is_strict=bounds.is_strict, is_for_reader=True)
    match outcome:
        case Committed(entry):
            return entry
        case Failure(error, kept):
            if kept.entry is not None and (is_built_since(kept, lease) or may_stand_in(kept.entry, kept.now, bounds)):
                return kept.entry
            raise passed_on(error)
        case _:
            assert_never(outcome)


def is_built_since(kept: Loaded, lease: Lease) -> bool:
    """Whether the lease was lost and whoever took over has built the entry."""
    entry = kept.entry
    return entry is not None and is_settled(entry, kept.now) and entry.position.sequence >= lease.begun.sequence


def refresh(call: Call, lease: Lease) -> Steps[Committed | Failure]:
    """Build an entry whose turn it is; not one whose builders died as often as they may fail."""
    if lease.n_died < call.policy.max_attempts:
        return (yield from attempt(call, lease))
    error = BuildError(f"{lease.key}: {lease.n_died} builds ended with their process, one after the other.")
    request = Fail(lease=lease, fingerprint=call.fingerprint, reason=reason_of(error), retry_in_s=None)
    return Failure(error, (yield from ask(request)))


def attempt(
    call: Call, lease: Lease, *, is_strict: bool = False, is_for_reader: bool = False
) -> Steps[Committed | Failure]:
    """Build, and end the lease whatever happens: with the value, with the failure, or given back when cancelled.

    A reader is given the value, or the function's error, also when the store does not answer any more.
    """
    try:
        built = yield from ask(Build(call, lease, is_strict))
    except GeneratorExit:
        # The driver itself is gone; nobody would carry out another request. The lease expires.
        raise
    except Exception as error:  # noqa: BLE001 - whatever the function raises is kept for whoever asked
        steps = fail(call, lease, error)
        return Failure(error, (yield from (rather_raising(steps, error) if is_for_reader else steps)))
    except BaseException:
        yield from give_back((lease,))
        raise
    steps_to_store = commit(call, lease, built)
    return (yield from (kept_anyway(steps_to_store, call, lease, built) if is_for_reader else steps_to_store))


def give_back(leases: Iterable[Lease]) -> Steps[None]:
    """End leases whose builds were cancelled. What that raises must not take the place of the cancellation."""
    for lease in leases:
        # Else it runs out by itself.
        with suppress(Exception):
            yield from ask(GiveUp(lease))


def fail(call: Call, lease: Lease, error: Exception) -> Steps[Loaded]:
    """End the lease of a build that raised; what is kept."""
    roll = yield from ask(Roll())
    retry_s = retry_in_s(lease.attempts + 1, call.policy, roll)
    reason = reason_of(error)
    return (
        yield from ask(
            Fail(lease=lease, fingerprint=call.fingerprint, reason=reason, retry_in_s=retry_s, roll=roll),
        )
    )


def fail_shared(call: Call, lease: Lease, error: Exception, roll: float) -> Steps[Loaded]:
    """The same when the build was for others too, and may have failed for any of them; this was no attempt, then."""
    retry_s = retry_in_s(lease.attempts, call.policy, roll)
    reason = reason_of(error)
    return (
        yield from ask(
            Fail(
                lease=lease,
                fingerprint=call.fingerprint,
                reason=reason,
                retry_in_s=retry_s,
                roll=roll,
                is_shared=True,
            )
        )
    )


def commit(call: Call, lease: Lease, built: Built) -> Steps[Committed]:
    """Store what was built; when the lease was lost, the value as its builder alone may use it."""
    retry_s: float | None = None
    if built.is_makeshift:
        roll = yield from ask(Roll())
        retry_s = retry_in_s(lease.attempts + 1, call.policy, roll)
        retry_s = call.policy.longest_retry_s if retry_s is None else retry_s
    outcome = yield from ask(
        Commit(
            lease=lease,
            built=built,
            fingerprint=call.fingerprint,
            terms=call.policy.terms,
            retry_in_s=retry_s,
        )
    )
    match outcome:
        case Committed():
            return outcome
        case Overtaken():
            entry = unstored_entry(
                lease,
                built,
                function=call.recipe.function,
                position=outcome.position,
                now=outcome.now,
                reason="its lease was lost while it was built",
            )
            return Committed(entry, is_changed=False, is_stored=False)
        case _:
            assert_never(outcome)


def settle(keys: Iterable[Key]) -> Steps[bool]:
    """Bring the entries up to date, so that those built from them are settled or known to be dirty.

    Answered with whether no build failed on the way.
    """
    for key in keys:
        loaded = yield from ask(Load(key))
        if loaded.entry is None or loaded.recipe is None or is_settled(loaded.entry, loaded.now):
            continue
        call = yield from ask(Resolve(key, loaded.recipe))
        if call is None:
            continue
        try:
            yield from ask(Bring(call))
        except Exception:  # noqa: BLE001 - the outer build meets the same error, or does without this entry
            return False
    return True


def reason_of(error: BaseException) -> str:
    """One line about the error for people: its type and the beginning of its message."""
    name = type(error).__name__
    try:
        text = f"{name}: {error}"[:300]
    except Exception:  # noqa: BLE001 - an error whose text cannot be made is an error all the same
        text = name
    # Half a surrogate pair, as in the name of a file, cannot be stored as UTF-8.
    return text.encode("utf-8", "replace").decode()


def _wait(call: Call, bounds: Bounds, busy: Busy, queueing: _Queueing) -> Steps[Entry | None]:
    """Wait for the build under way; the last good value when that fails, or hangs, and it may stand in."""
    left_s = call.policy.wait_timeout_s - (busy.now - queueing.since)
    if left_s <= 0:
        loaded = yield from ask(Load(call.key, call.fingerprint))
        if loaded.entry is not None and may_stand_in(loaded.entry, loaded.now, bounds):
            return loaded.entry
        msg = (
            f"{call.key}: somebody else has been building it for over {call.policy.wait_timeout_s:g} s. "
            "Is its source hanging, or do two functions wait for each other? Raise wait_timeout if it takes that long."
        )
        raise WaitTimeout(msg)
    try:
        yield from ask(Wait(call.key, min(left_s, max(busy.until - busy.now, 0.0)), queueing.arrived))
    except Exception:
        loaded = yield from ask(Load(call.key, call.fingerprint))
        if loaded.entry is not None and may_stand_in(loaded.entry, loaded.now, bounds):
            return loaded.entry
        raise
    return None


def _is_failing(entry: Entry, now: float) -> bool:
    """Whether the last build failed and the next is not due yet, or will not come by itself."""
    return entry.state is State.FAILED or (entry.retry_at is not None and entry.retry_at > now)


def _is_within(entry: Entry, now: float, bound_s: float) -> bool:
    """Whether a stale entry is younger than the bound. Zero allows nothing, also when the clock was set back."""
    since = min((at for at in (entry.stale_since, entry.ends_at()) if at is not None), default=None)
    return since is not None and bound_s > 0 and now - since < bound_s
