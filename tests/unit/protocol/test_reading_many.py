from dataclasses import replace
from math import inf

import msgspec
import pytest

from everfresh.model.entry import Entry, Key, Lease, State
from everfresh.protocol.reading_many import MAX_AT_ONCE, read_many
from everfresh.protocol.requests import (
    NOTHING_OLD,
    STRICT,
    Begin,
    Bounds,
    BuildMany,
    Busy,
    Call,
    Commit,
    Committed,
    Fail,
    GiveUp,
    Load,
    Loaded,
    LoadMany,
    NotNeeded,
    Resolve,
    Revalidate,
    Roll,
    Wait,
)
from tests.unit.protocol.making import BUILT, INNER, LEASE, NOTHING, NOW, POLICY, at, call, entry, loaded
from tests.unit.protocol.script import Script

A, B, C = (call(key=Key(f"f({number})")) for number in (1, 2, 3))
KEYS = (A.key, B.key, C.key)
DOWN = ConnectionError("down")
FOREVER = Bounds(stale_while_revalidate_s=inf, stale_if_error_s=inf)


def fresh(one: Call) -> Entry:
    """Its entry, as it should be."""
    return entry(key=one.key)


def stale(one: Call) -> Entry:
    """Its entry, touched."""
    return entry(State.DIRTY, key=one.key, stale_since=NOW - 10.0)


def lease_of(one: Call) -> Lease:
    """A lease with a token of its own."""
    return Lease(key=one.key, token=KEYS.index(one.key) + 1, begun=LEASE.begun, until=LEASE.until)


def begin_of(one: Call, good_from: int = 7) -> Begin:
    """The request for its lease."""
    return Begin(
        key=one.key,
        recipe=one.recipe,
        fingerprint=one.fingerprint,
        shapes=one.shapes,
        lease_s=10.0,
        good_from=good_from,
        terms=one.policy.terms,
    )


def commit_of(one: Call) -> Commit:
    """The request that stores what was built for it."""
    return Commit(lease=lease_of(one), built=BUILT, fingerprint="f1")


def fail_of(one: Call) -> Fail:
    """The request that ends its lease without a value."""
    reason = "ConnectionError: down"
    return Fail(lease=lease_of(one), fingerprint="f1", reason=reason, retry_in_s=0.25, roll=0.5)


def shared_fail_of(one: Call) -> Fail:
    """The same, for a run of several: it was no attempt of this one."""
    return replace(fail_of(one), retry_in_s=0.125, is_shared=True)


def committed(one: Call) -> Committed:
    """What the store answers to its commit."""
    return Committed(entry(key=one.key, good_as_of=7), is_changed=True)


def script_at_build(*calls: Call, bounds: Bounds = NOTHING_OLD, found: Loaded = NOTHING) -> Script[list[Entry]]:
    """A reader that has the leases of all of them, and builds."""
    script = Script(read_many(calls, bounds))
    script.asks(LoadMany(tuple(one.key for one in calls), "f1")).gets((found,) * len(calls))
    for one in calls:
        script.asks(begin_of(one)).gets(lease_of(one))
    script.asks(BuildMany(tuple(calls), tuple(map(lease_of, calls)), bounds.is_strict))
    return script


def test_no_calls_ask_for_nothing() -> None:
    """There is nothing to read."""
    assert Script(read_many([], NOTHING_OLD)).result == []


def test_good_ones_are_served_in_one_look() -> None:
    """In the order of the calls, as often as they were asked for."""
    script = Script(read_many([B, A, B], NOTHING_OLD))

    script.asks(LoadMany((B.key, A.key), "f1")).gets((loaded(fresh(B)), loaded(fresh(A))))

    assert script.result == [fresh(B), fresh(A), fresh(B)]


def test_stale_ones_within_their_bounds_are_served_and_refreshed() -> None:
    """Each by itself, as in an ordinary read."""
    script = Script(read_many([A, B], FOREVER))

    script.asks(LoadMany((A.key, B.key), "f1")).gets((loaded(stale(A)), loaded(fresh(B))))
    script.asks(Revalidate(A)).gets(None)

    assert script.result == [stale(A), fresh(B)]


def test_missing_ones_are_built_in_one_run() -> None:
    """Those that are there are not built; each that is built is committed."""
    script = Script(read_many([A, B, C], NOTHING_OLD))

    script.asks(LoadMany(KEYS, "f1")).gets((NOTHING, loaded(fresh(B)), loaded(stale(C))))
    script.asks(begin_of(A)).gets(lease_of(A))
    script.asks(begin_of(C)).gets(lease_of(C))
    script.asks(BuildMany((A, C), (lease_of(A), lease_of(C)))).gets((BUILT, BUILT))
    script.asks(commit_of(A)).gets(committed(A))
    script.asks(commit_of(C)).gets(committed(C))

    assert script.result == [committed(A).entry, fresh(B), committed(C).entry]


def test_a_strict_reader_builds_strictly() -> None:
    """What the run calls on the way is read strictly too."""
    script = script_at_build(A, B, bounds=STRICT)

    assert script.request == BuildMany((A, B), (lease_of(A), lease_of(B)), is_strict=True)


def test_those_that_others_build_are_waited_for_after_own_commits() -> None:
    """So two readers of overlapping keys never wait for each other."""
    script = Script(read_many([A, B], NOTHING_OLD))

    script.asks(LoadMany((A.key, B.key), "f1")).gets((NOTHING, NOTHING))
    script.asks(begin_of(A)).gets(Busy(NOW, NOW + 8.0))
    script.asks(begin_of(B)).gets(lease_of(B))
    script.asks(BuildMany((B,), (lease_of(B),))).gets((BUILT,))
    script.asks(commit_of(B)).gets(committed(B))
    script.asks(Load(A.key, "f1")).gets(loaded(newest=9))
    script.asks(begin_of(A)).gets(Busy(NOW, NOW + 8.0))
    script.asks(Wait(A.key, 8.0, arrived=at(6))).gets(None)
    script.asks(Load(A.key, "f1")).gets(loaded(entry(State.DIRTY, key=A.key, good_as_of=7, stale_since=NOW), newest=9))

    assert script.result[0].position == at(7)
    assert script.result[1] == committed(B).entry


def test_nothing_is_run_when_others_build_all_of_them() -> None:
    """There is nothing to load."""
    script = Script(read_many([A], NOTHING_OLD))

    script.asks(LoadMany((A.key,), "f1")).gets((NOTHING,))
    script.asks(begin_of(A)).gets(NotNeeded())
    script.asks(Load(A.key, "f1")).gets(loaded(fresh(A)))

    assert script.result == [fresh(A)]


def test_a_suspect_one_is_settled_instead_of_built() -> None:
    """As in an ordinary read, once the others are committed."""
    suspect = entry(State.SUSPECT, key=A.key, stale_since=NOW - 10.0)
    script = Script(read_many([A, B], NOTHING_OLD))

    script.asks(LoadMany((A.key, B.key), "f1")).gets((loaded(suspect, unsettled=(INNER,)), NOTHING))
    script.asks(begin_of(B)).gets(lease_of(B))
    script.asks(BuildMany((B,), (lease_of(B),))).gets((BUILT,))
    script.asks(commit_of(B)).gets(committed(B))
    script.asks(Load(A.key, "f1")).gets(loaded(suspect, unsettled=(INNER,)))
    script.asks(Load(INNER)).gets(loaded(entry(State.DIRTY, key=INNER, stale_since=NOW), recipe=A.recipe))
    script.asks(Resolve(INNER, A.recipe)).gets(None)
    script.asks(Load(A.key, "f1")).gets(loaded(fresh(A)))

    assert script.result == [fresh(A), committed(B).entry]


def test_the_look_counts_for_all_that_follows() -> None:
    """What was applied since is not this reader's; each key has its own order."""
    script = Script(read_many([A, B], NOTHING_OLD))

    script.asks(LoadMany((A.key, B.key), "f1")).gets((loaded(newest=8), loaded(newest=7)))

    script.asks(begin_of(A, good_from=8)).gets(Busy(0.0, 1.0))
    script.asks(begin_of(B, good_from=7))


# ----------------------------------------------------------------------------------------------------------- failing


def test_a_run_that_fails_fails_for_all_of_its_keys() -> None:
    """Each lease is ended with a failure that is no attempt, as it may be another's; and then it is raised."""
    script = script_at_build(A, B)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(shared_fail_of(A)).gets(NOTHING)
    script.asks(shared_fail_of(B))

    with pytest.raises(ConnectionError) as caught:
        script.gets(NOTHING)
    assert caught.value is DOWN


def test_one_that_fails_in_a_run_of_its_own_has_tried() -> None:
    """It can be nobody else's failure."""
    script = script_at_build(A)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(A))

    with pytest.raises(ConnectionError):
        script.gets(NOTHING)


@pytest.mark.parametrize(("max_attempts", "attempts"), [(1, 0), (3, 2)])
def test_a_run_that_fails_is_nobodys_last_try(max_attempts: int, attempts: int) -> None:
    """None is given up for what another has done; their next tries come together."""
    calls = [replace(one, policy=replace(POLICY, max_attempts=max_attempts)) for one in (A, B)]
    leases = [msgspec.structs.replace(lease_of(one), attempts=attempts) for one in calls]
    script = Script(read_many(calls, NOTHING_OLD))
    script.gets((NOTHING, NOTHING))
    for lease in leases:
        script.gets(lease)
    script.asks(BuildMany(tuple(calls), tuple(leases))).meets(DOWN)
    script.gets(0.5)

    first = script.request
    script.gets(NOTHING)
    second = script.request

    assert isinstance(first, Fail)
    assert isinstance(second, Fail)
    assert first.retry_in_s is not None
    assert first.retry_in_s == second.retry_in_s


def test_what_one_key_lacks_is_raised_once_the_others_are_committed() -> None:
    """What was loaded for them is not lost."""
    script = script_at_build(A, B)

    script.gets((DOWN, BUILT))
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(A)).gets(NOTHING)
    script.asks(commit_of(B))

    with pytest.raises(ConnectionError, match="down"):
        script.gets(committed(B))


def test_nobody_is_waited_for_when_something_failed() -> None:
    """The reader has its error already."""
    script = Script(read_many([A, B], NOTHING_OLD))
    script.asks(LoadMany((A.key, B.key), "f1")).gets((NOTHING, NOTHING))
    script.asks(begin_of(A)).gets(Busy(NOW, NOW + 8.0))
    script.asks(begin_of(B)).gets(lease_of(B))
    script.asks(BuildMany((B,), (lease_of(B),))).gets((DOWN,))
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(B))

    with pytest.raises(ConnectionError, match="down"):
        script.gets(NOTHING)


def test_the_last_value_stands_in_within_its_bounds() -> None:
    """For each key by itself."""
    script = script_at_build(A, B, bounds=Bounds(stale_if_error_s=11.0), found=NOTHING)

    script.gets((DOWN, BUILT))
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(A)).gets(loaded(stale(A)))
    script.asks(commit_of(B)).gets(committed(B))

    assert script.result == [stale(A), committed(B).entry]


def test_the_last_value_does_not_stand_in_beyond_its_bounds() -> None:
    """Then its failure is raised."""
    script = script_at_build(A, bounds=Bounds(stale_if_error_s=10.0))

    script.gets((DOWN,))
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(A))

    with pytest.raises(ConnectionError, match="down"):
        script.gets(loaded(stale(A)))


def test_what_another_built_meanwhile_stands_in() -> None:
    """Whoever took over when the lease was lost has built it since."""
    script = script_at_build(A)

    script.gets((DOWN,))
    script.asks(Roll()).gets(0.5)
    script.asks(fail_of(A)).gets(loaded(entry(key=A.key, good_as_of=7)))

    assert script.result == [entry(key=A.key, good_as_of=7)]


# -------------------------------------------------------------------------------------------------------- cancelling


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), BaseException()], ids=repr)
def test_a_cancelled_run_gives_all_its_leases_back(interruption: BaseException) -> None:
    """It is no failure: the next may build at once."""
    script = script_at_build(A, B)

    script.meets(interruption)
    script.asks(GiveUp(lease_of(A))).gets(None)
    script.asks(GiveUp(lease_of(B)))

    with pytest.raises(type(interruption)):
        script.gets(None)


def test_a_reader_cancelled_while_it_takes_leases_gives_those_back_that_it_has() -> None:
    """Though nothing was built yet."""
    script = Script(read_many([A, B], NOTHING_OLD))
    script.asks(LoadMany((A.key, B.key), "f1")).gets((NOTHING, NOTHING))
    script.asks(begin_of(A)).gets(lease_of(A))

    script.asks(begin_of(B)).meets(KeyboardInterrupt())
    script.asks(GiveUp(lease_of(A)))

    with pytest.raises(KeyboardInterrupt):
        script.gets(None)


def test_a_reader_cancelled_while_it_commits_gives_back_what_is_left() -> None:
    """The one whose commit was under way among them: if it was carried out, giving up changes nothing."""
    script = script_at_build(A, B, C)
    script.gets((BUILT, BUILT, BUILT))
    script.asks(commit_of(A)).gets(committed(A))

    script.asks(commit_of(B)).meets(KeyboardInterrupt())
    script.asks(GiveUp(lease_of(B))).gets(None)
    script.asks(GiveUp(lease_of(C)))

    with pytest.raises(KeyboardInterrupt):
        script.gets(None)


def test_leases_are_given_back_when_the_store_fails() -> None:
    """Whatever goes wrong between the first lease and the last commit."""
    script = script_at_build(A, B)
    script.gets((DOWN, BUILT))
    script.asks(Roll()).gets(0.5)

    script.asks(fail_of(A)).meets(OSError("locked"))
    script.asks(GiveUp(lease_of(A))).gets(None)
    script.asks(GiveUp(lease_of(B)))

    with pytest.raises(OSError, match="locked"):
        script.gets(None)


def test_a_run_whose_driver_is_gone_asks_for_nothing() -> None:
    """Nobody would carry it out; the leases run out by themselves."""
    script = script_at_build(A, B)

    script.is_abandoned()

    assert isinstance(script.request, BuildMany)


MANY = tuple(call(key=Key(f"g({number})")) for number in range(MAX_AT_ONCE + 1))
LEASES = tuple(Lease(key=one.key, token=n, begun=LEASE.begun, until=LEASE.until) for n, one in enumerate(MANY))


def script_at_first_run() -> Script[list[Entry]]:
    """A reader of more than fit into one run, who has the leases of the first run."""
    script = Script(read_many(MANY, NOTHING_OLD))
    script.asks(LoadMany(tuple(one.key for one in MANY), "f1")).gets((NOTHING,) * len(MANY))
    for one, lease in zip(MANY[:-1], LEASES[:-1], strict=True):
        script.asks(begin_of(one)).gets(lease)
    return script.asks(BuildMany(MANY[:-1], LEASES[:-1]))


def test_very_many_are_built_in_several_runs() -> None:
    """All that the first run built is committed before the first lease of the second is taken."""
    script = script_at_first_run()

    script.gets((BUILT,) * MAX_AT_ONCE)
    for one, lease in zip(MANY[:-1], LEASES[:-1], strict=True):
        script.asks(Commit(lease=lease, built=BUILT, fingerprint="f1")).gets(committed(one))
    script.asks(begin_of(MANY[-1])).gets(LEASES[-1])
    script.asks(BuildMany(MANY[-1:], LEASES[-1:])).gets((BUILT,))
    script.asks(Commit(lease=LEASES[-1], built=BUILT, fingerprint="f1")).gets(committed(MANY[-1]))

    assert script.result == [committed(one).entry for one in MANY]


def test_after_a_run_that_raised_no_other_begins() -> None:
    """The source is down, as a rule, and each further run would wait for it."""
    script = script_at_first_run()

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    for number, lease in enumerate(LEASES[:-1], start=1):
        script.asks(replace(shared_fail_of(A), lease=lease))
        if number < MAX_AT_ONCE:
            script.gets(NOTHING)

    with pytest.raises(ConnectionError):
        script.gets(NOTHING)
