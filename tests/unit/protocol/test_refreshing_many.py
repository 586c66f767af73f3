"""Refreshing many entries in one run: each lease is ended by itself, and none fails with others for ever."""

from dataclasses import replace

import pytest

from everfresh.model.entry import Key, Lease
from everfresh.protocol.reading_many import MAX_AT_ONCE, n_at_once, refresh_many
from everfresh.protocol.requests import BuildMany, Call, Commit, Committed, Fail, GiveUp, Roll
from tests.unit.protocol.making import BUILT, LEASE, NOTHING, POLICY, call, entry
from tests.unit.protocol.script import Script

A, B, C = (call(key=Key(f"f({number})")) for number in (1, 2, 3))
KEYS = (A.key, B.key, C.key)
DOWN = ConnectionError("down")


def lease_of(one: Call, attempts: int = 0) -> Lease:
    """A lease with a token of its own."""
    token = KEYS.index(one.key) + 1
    return Lease(key=one.key, token=token, begun=LEASE.begun, until=LEASE.until, attempts=attempts)


def commit_of(one: Call) -> Commit:
    """The request that stores what was built for it."""
    return Commit(lease=lease_of(one), built=BUILT, fingerprint="f1")


def fail_of(one: Call) -> Fail:
    """The request that ends its lease without a value."""
    return Fail(lease=lease_of(one), fingerprint="f1", reason="ConnectionError: down", retry_in_s=0.25, roll=0.5)


def committed(one: Call) -> Committed:
    """What the store answers to its commit."""
    return Committed(entry(key=one.key, good_as_of=7), is_changed=True)


def script_at_build(*calls: Call) -> Script[None]:
    """A worker that builds them."""
    leases = [lease_of(one) for one in calls]
    return Script(refresh_many(calls, leases)).asks(BuildMany(calls, tuple(leases)))


def test_they_are_built_in_one_run_and_committed_one_by_one() -> None:
    """Each under its own lease."""
    script = script_at_build(A, B)

    script.gets((BUILT, BUILT))
    script.asks(commit_of(A)).gets(committed(A))
    script.asks(commit_of(B)).gets(committed(B))

    assert script.result is None


def test_a_run_that_fails_fails_for_each() -> None:
    """Each is tried again by itself, when its own time has come."""
    script = script_at_build(A, B)

    script.meets(DOWN)
    for one in (A, B):
        script.asks(Roll()).gets(0.5)
        script.asks(fail_of(one)).gets(NOTHING)

    assert script.result is None


def test_one_that_fails_keeps_nothing_from_the_others() -> None:
    """What was loaded for them is stored."""
    script = script_at_build(A, B)

    script.gets((DOWN, BUILT))
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(A)).gets(NOTHING)
    script.asks(commit_of(B)).gets(committed(B))

    assert script.result is None


def test_one_whose_builders_died_too_often_is_given_up_and_not_built() -> None:
    """It may be what they died of."""
    dead = lease_of(A, attempts=POLICY.max_attempts)
    script = Script(refresh_many([A, B], [dead, lease_of(B)]))

    reason = "BuildError: f(1): 3 builds failed, and the last one ended with its process."
    script.asks(Fail(lease=dead, fingerprint="f1", reason=reason, retry_in_s=None)).gets(NOTHING)
    script.asks(BuildMany((B,), (lease_of(B),))).gets((BUILT,))
    script.asks(commit_of(B)).gets(committed(B))

    assert script.result is None


def test_when_all_are_given_up_nothing_is_built() -> None:
    """The function is not called for nothing."""
    script = Script(refresh_many([A], [lease_of(A, attempts=3)]))

    script.gets(NOTHING)

    assert script.result is None


def test_a_cancelled_run_gives_all_its_leases_back() -> None:
    """It is no failure: the next may build at once."""
    script = script_at_build(A, B)

    script.meets(KeyboardInterrupt())
    script.asks(GiveUp(lease_of(A))).gets(None)
    script.asks(GiveUp(lease_of(B)))

    with pytest.raises(KeyboardInterrupt):
        script.gets(None)


def test_what_is_not_ended_yet_is_given_back_when_the_store_fails() -> None:
    """What was committed is not."""
    script = script_at_build(A, B, C)
    script.gets((BUILT, BUILT, BUILT))
    script.asks(commit_of(A)).gets(committed(A))

    script.asks(commit_of(B)).meets(OSError("locked"))
    script.asks(GiveUp(lease_of(B))).gets(None)
    script.asks(GiveUp(lease_of(C)))

    with pytest.raises(OSError, match="locked"):
        script.gets(None)


def test_a_run_whose_driver_is_gone_asks_for_nothing() -> None:
    """Nobody would carry it out; the leases run out by themselves."""
    script = script_at_build(A, B)

    script.is_abandoned()

    assert isinstance(script.request, BuildMany)


@pytest.mark.parametrize(("attempts", "n"), [(0, MAX_AT_ONCE), (1, 125), (2, 15), (3, 1), (4, 1), (50, 1)])
def test_what_has_failed_is_tried_in_ever_smaller_runs(attempts: int, n: int) -> None:
    """One of them may be what makes the whole run fail; the others are rid of it soon."""
    assert n_at_once(attempts, replace(POLICY, max_attempts=8)) == n


@pytest.mark.parametrize(("max_attempts", "n"), [(1, MAX_AT_ONCE), (2, 1), (3, 125)])
def test_the_last_try_is_made_alone(max_attempts: int, n: int) -> None:
    """None is given up for what another has done; unless there is one try only, which is the first."""
    attempts = min(1, max_attempts - 1)

    assert n_at_once(attempts, replace(POLICY, max_attempts=max_attempts)) == n
