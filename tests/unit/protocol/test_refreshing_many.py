"""Refreshing many entries in one run: each lease is ended by itself, and none fails for what another has done."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.model.entry import Key, Lease
from everfresh.protocol.reading_many import MAX_AT_ONCE, n_at_once, refresh_many
from everfresh.protocol.requests import BuildMany, Call, Commit, Committed, Fail, GiveUp, Request, Roll
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES
from tests.unit.protocol.making import BUILT, LEASE, NOTHING, POLICY, call, entry
from tests.unit.protocol.script import Script

A, B, C = (call(key=Key(f"f({number})")) for number in (1, 2, 3))
KEYS = (A.key, B.key, C.key)
DOWN = ConnectionError("down")


def lease_of(one: Call, n_died: int = 0) -> Lease:
    """A lease with a token of its own."""
    token = KEYS.index(one.key) + 1
    return Lease(key=one.key, token=token, begun=LEASE.begun, until=LEASE.until, n_died=n_died)


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


def test_a_run_that_fails_is_done_again_in_halves() -> None:
    """One of them may be what it failed for: only what fails alone has failed."""
    script = script_at_build(A, B, C)

    script.meets(DOWN)
    script.asks(BuildMany((A,), (lease_of(A),))).gets((BUILT,))
    script.asks(commit_of(A)).gets(committed(A))
    script.asks(BuildMany((B, C), (lease_of(B), lease_of(C)))).meets(DOWN)
    script.asks(BuildMany((B,), (lease_of(B),))).meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(B)).gets(NOTHING)
    script.asks(BuildMany((C,), (lease_of(C),))).gets((BUILT,))
    script.asks(commit_of(C)).gets(committed(C))

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
    dead = lease_of(A, n_died=POLICY.max_attempts)
    script = Script(refresh_many([A, B], [dead, lease_of(B)]))

    reason = "BuildError: f(1): 3 builds ended with their process, one after the other."
    script.asks(Fail(lease=dead, fingerprint="f1", reason=reason, retry_in_s=None)).gets(NOTHING)
    script.asks(BuildMany((B,), (lease_of(B),))).gets((BUILT,))
    script.asks(commit_of(B)).gets(committed(B))

    assert script.result is None


def test_when_all_are_given_up_nothing_is_built() -> None:
    """The function is not called for nothing."""
    script = Script(refresh_many([A], [lease_of(A, n_died=3)]))

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


@dataclass
class Played:
    """How a worker fared with a source that fails whenever one of some entries is asked for."""

    runs: list[int] = field(default_factory=list[int])
    built: set[Key] = field(default_factory=set[Key])
    failed: list[Key] = field(default_factory=list[Key])

    def answer(self, request: Request[Any], is_rotten: Callable[[Key], bool]) -> object:
        """Carry the request out."""
        match request:
            case BuildMany(calls=calls):
                self.runs.append(len(calls))
                has_failed = any(is_rotten(one.key) for one in calls)
                return (DOWN if has_failed else BUILT,) * len(calls)
            case Commit(lease=lease):
                self.built.add(lease.key)
                return Committed(entry(key=lease.key, good_as_of=7), is_changed=True)
            case Fail(lease=lease):
                self.failed.append(lease.key)
                return NOTHING
            case Roll():
                return 0.5
            case _:
                raise AssertionError(request)


def key_of(number: int) -> Key:
    """The key of one of very many."""
    return Key(f"f({number})")


def played(n: int, is_rotten: Callable[[Key], bool]) -> Played:
    """A worker refreshes so many."""
    calls = [call(key=key_of(number)) for number in range(n)]
    leases = [Lease(key=one.key, token=token, begun=LEASE.begun, until=LEASE.until) for token, one in enumerate(calls)]
    played, steps = Played(), refresh_many(calls, leases)
    try:
        request = next(steps)
        while True:
            request = steps.send(played.answer(request, is_rotten))
    except StopIteration:
        return played


def with_rotten(n: int, rotten: Sequence[int]) -> Played:
    """A worker refreshes so many, of which some always fail."""
    keys = {key_of(number) for number in rotten}
    return played(n, keys.__contains__)


@pytest.mark.parametrize("n", [2, 3, 10, 300])
def test_one_that_always_fails_costs_a_few_runs_for_each_halving(n: int) -> None:
    """Both halves, and at times one alone to see that the source works. Wherever it stands, only it has failed."""
    for rotten in range(n):
        seen = with_rotten(n, [rotten])

        assert seen.failed == [key_of(rotten)]
        assert len(seen.built) == n - 1
        assert len(seen.runs) <= 3 * ceil(log2(n))


@given(rotten=st.sets(st.integers(0, 299), max_size=BREAK_AFTER_FAILURES - 1))
def test_a_few_that_always_fail_are_found_one_by_one(rotten: set[int]) -> None:
    """The cost is that of each by itself, or less; the others are built."""
    seen = with_rotten(300, sorted(rotten))

    assert sorted(seen.failed) == sorted(map(key_of, rotten))
    assert len(seen.built) == 300 - len(rotten)
    assert len(seen.runs) <= 1 + len(rotten) * 3 * ceil(log2(300))


@pytest.mark.parametrize("n", [8, 300, MAX_AT_ONCE])
def test_a_source_that_is_down_is_asked_a_few_times_only(n: int) -> None:
    """As many fail alone as pause the function; with them the others, whose attempts do not count any more."""
    seen = played(n, lambda _: True)

    assert len(seen.runs) == 2 + BREAK_AFTER_FAILURES
    assert seen.runs[2:] == [1] * BREAK_AFTER_FAILURES
    assert sorted(seen.failed) == sorted(map(key_of, range(n)))


def test_many_that_fail_with_others_that_are_built_between_them_are_all_found() -> None:
    """The source is not down while it gives anything."""
    rotten = range(0, 64, 2)

    seen = with_rotten(64, rotten)

    assert sorted(seen.failed) == sorted(map(key_of, rotten))


@pytest.mark.parametrize(("attempts", "n"), [(0, MAX_AT_ONCE), (1, 125), (2, 15), (3, 1), (4, 1), (50, 1)])
def test_what_has_failed_is_tried_in_ever_smaller_runs(attempts: int, n: int) -> None:
    """One of them may be what their builders died of; the others are rid of it soon."""
    assert n_at_once(attempts, replace(POLICY, max_attempts=8)) == n


@pytest.mark.parametrize(("max_attempts", "n"), [(1, MAX_AT_ONCE), (2, 1), (3, 125)])
def test_the_last_try_is_made_alone(max_attempts: int, n: int) -> None:
    """None is given up for what another has done; unless there is one try only, which is the first."""
    attempts = min(1, max_attempts - 1)

    assert n_at_once(attempts, replace(POLICY, max_attempts=max_attempts)) == n
