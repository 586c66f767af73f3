from dataclasses import replace
from math import inf

import msgspec
import pytest

from everfresh.matching.shapes import Group, predicate_shape
from everfresh.model.entry import Entry, OnChange, State, Terms
from everfresh.model.errors import BuildError, StoreUnavailable, WaitTimeout
from everfresh.protocol.reading import Failure, attempt, read, rebuild, refresh, settle
from everfresh.protocol.requests import (
    NOTHING_OLD,
    STRICT,
    Bounds,
    Bring,
    Build,
    Busy,
    Committed,
    Fail,
    GiveUp,
    Load,
    NotNeeded,
    Overtaken,
    Resolve,
    Revalidate,
    Roll,
    Wait,
)
from tests.unit.protocol.making import (
    BUILT,
    CALL,
    COMMITTED,
    INNER,
    KEY,
    LEASE,
    LOAD,
    NOTHING,
    NOW,
    POLICY,
    at,
    begin,
    call,
    commit,
    entry,
    fail,
    loaded,
)
from tests.unit.protocol.script import Script

FRESH = entry()
DIRTY = entry(State.DIRTY, stale_since=NOW - 10.0)
SUSPECT = entry(State.SUSPECT, stale_since=NOW - 10.0)
BUSY = Busy(NOW, NOW + 8.0)
DOWN = ConnectionError("down")


def script_at_build(*, bounds: Bounds = NOTHING_OLD, found: Entry | None = None) -> Script[Entry]:
    """A reader that has the lease and builds."""
    script = Script(read(CALL, bounds))
    script.asks(LOAD).gets(loaded(found))
    script.asks(begin(good_from=7)).gets(LEASE)
    script.asks(Build(CALL, LEASE))
    return script


# -------------------------------------------------------------------------------------------------------------- hits


def test_a_fresh_entry_is_served() -> None:
    """A hit is one step of the store."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(FRESH))

    assert script.result == FRESH


def test_a_value_as_of_the_asked_position_is_served_whatever_its_state() -> None:
    """Who waits only for its own write does not wait for those of others."""
    script = Script(read(CALL, NOTHING_OLD, good_from=5))

    script.asks(LOAD).gets(loaded(DIRTY, newest=7))

    assert script.result == DIRTY


def test_a_stale_value_within_its_bounds_is_served_while_a_refresh_begins() -> None:
    """The reader is not kept waiting, and somebody builds."""
    script = Script(read(CALL, Bounds(stale_while_revalidate_s=11.0)))

    script.asks(LOAD).gets(loaded(DIRTY))
    script.asks(Revalidate(CALL)).gets(None)

    assert script.result == DIRTY


def test_a_failing_value_within_its_bounds_is_served_without_a_refresh() -> None:
    """Its next try has a time, and a reader does not hasten it."""
    failing = entry(State.DIRTY, stale_since=NOW - 10.0, retry_at=NOW + 5.0)
    script = Script(read(CALL, Bounds(stale_while_revalidate_s=11.0)))

    script.asks(LOAD).gets(loaded(failing))

    assert script.result == failing


# ------------------------------------------------------------------------------------------------------------ misses


def test_a_reader_who_finds_nothing_builds() -> None:
    """Without any worker running everything stays correct."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(LEASE)
    script.asks(Build(CALL, LEASE)).gets(BUILT)
    script.asks(commit()).gets(COMMITTED)

    assert script.result == COMMITTED.entry


def test_a_stale_value_beyond_its_bounds_is_built_anew() -> None:
    """Nobody is served what is known to be out of date, unless the function said so."""
    script = Script(read(CALL, Bounds(stale_while_revalidate_s=10.0)))

    script.asks(LOAD).gets(loaded(DIRTY))

    script.asks(begin(good_from=7))


def test_a_reader_needs_no_more_than_was_applied_when_it_came() -> None:
    """An event that comes while it waits is not its own; else a stream of events would hold it for ever."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(DIRTY, newest=7))
    script.asks(begin(good_from=7)).gets(NotNeeded())
    script.asks(LOAD).gets(loaded(DIRTY, newest=9))
    script.asks(begin(good_from=7)).gets(NotNeeded())
    script.asks(LOAD).gets(loaded(msgspec.structs.replace(DIRTY, position=at(7)), newest=9))

    assert script.result.position == at(7)


def test_a_function_says_what_an_event_does_to_its_values() -> None:
    """Its lease and its commit tell the store."""
    terms = Terms(on_change=OnChange.DROP, priority=3)
    dropping = call(replace(POLICY, terms=terms))
    script = Script(read(dropping, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(replace(begin(good_from=7), terms=terms)).gets(LEASE)
    script.asks(Build(dropping, LEASE)).gets(BUILT)

    script.asks(commit(terms))


def test_a_build_that_was_outrun_is_good_for_whoever_asked_before() -> None:
    """Its builder came before the event, so it may use what it built, stored or not."""
    outrun = Committed(entry(State.DIRTY, good_as_of=7, stale_since=NOW), is_changed=False, is_stored=False)
    script = script_at_build()

    script.gets(BUILT)
    script.asks(commit()).gets(outrun)

    assert script.result == outrun.entry


@pytest.mark.parametrize(("read_on_the_way", "good_as_of"), [(7, 7), (9, 7), (4, 4)])
def test_a_builder_that_lost_its_lease_uses_its_value_alone(read_on_the_way: int, good_as_of: int) -> None:
    """It is not stored, not fresh, and good as of the oldest of what it was built from."""
    script = script_at_build()

    script.gets(replace(BUILT, good_from=read_on_the_way))
    script.asks(replace(commit(), built=replace(BUILT, good_from=read_on_the_way))).gets(Overtaken(at(9), NOW + 20.0))

    assert script.result == Entry(
        key=KEY,
        function="f",
        state=State.DIRTY,
        version=0,
        value=b"\x02",
        digest="d2",
        position=at(good_as_of),
        changed_at=at(9),
        built_at=NOW + 20.0,
        build_s=0.25,
        stale_since=NOW + 20.0,
        reason="its lease was lost while it was built",
    )


def test_a_value_that_was_not_taken_is_said_to_be_neither_stored_nor_changed() -> None:
    """A worker that lost its lease announces no news."""
    script = Script(attempt(CALL, LEASE))

    script.asks(Build(CALL, LEASE)).gets(BUILT)
    script.asks(commit()).gets(Overtaken(at(9), NOW + 20.0))

    assert isinstance(script.result, Committed)
    assert (script.result.is_stored, script.result.is_changed) == (False, False)


def test_an_error_that_was_not_taken_is_an_error_still() -> None:
    """Its builder raises it, and does not take it for a value."""
    raised = replace(BUILT, is_error=True)
    script = Script(attempt(CALL, LEASE))

    script.asks(Build(CALL, LEASE)).gets(raised)
    script.asks(replace(commit(), built=raised)).gets(Overtaken(at(9), NOW + 20.0))

    assert isinstance(script.result, Committed)
    assert script.result.entry.is_error


@pytest.mark.parametrize(("bounds", "is_strict"), [(STRICT, True), (NOTHING_OLD, False)], ids=["strict", "plain"])
def test_a_strict_reader_builds_strictly(bounds: Bounds, is_strict: bool) -> None:
    """What its build calls on the way is read strictly too."""
    script = Script(read(CALL, bounds))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(LEASE)

    script.asks(Build(CALL, LEASE, is_strict))


def test_a_build_stands_where_its_predicates_look_from_the_beginning() -> None:
    """Events that come while it is built are judged for it."""
    watched = (Group(predicate_shape("bug.#", "f"), ((),)),)
    script = Script(read(replace(CALL, watched=watched), NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)

    script.asks(replace(begin(good_from=7), watched=watched))


# ----------------------------------------------------------------------------------------------------------- waiting


def test_a_reader_waits_for_the_build_under_way() -> None:
    """One build serves all who came before it began."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(newest=7, applied=6))
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).gets(None)
    script.asks(LOAD).gets(loaded(FRESH, newest=8))

    assert script.result == FRESH


def test_a_reader_takes_over_when_the_lease_has_run_out() -> None:
    """A dead builder keeps nobody waiting longer than its lease."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).gets(None)
    script.asks(LOAD).gets(loaded(now=NOW + 8.0))
    script.asks(begin(good_from=7)).gets(LEASE)

    script.asks(Build(CALL, LEASE))


@pytest.mark.parametrize(
    ("busy", "timeout_s"),
    [
        (Busy(NOW, NOW + 8.0), 8.0),
        (Busy(NOW, NOW + 90.0), 60.0),
        (Busy(NOW + 55.0, NOW + 65.0), 5.0),
        (Busy(NOW + 59.5, NOW + 65.0), 0.5),
        (Busy(NOW, NOW - 1.0), 0.0),
    ],
    ids=["until-the-lease-ends", "as-long-as-allowed", "what-is-left", "half-a-second", "lease-ended-already"],
)
def test_a_reader_waits_no_longer_than_it_may(busy: Busy, timeout_s: float) -> None:
    """It looks again when the lease may have ended, or when its patience has."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(busy)

    script.asks(Wait(KEY, timeout_s, arrived=at(6)))


def test_a_reader_that_waited_for_too_long_says_so() -> None:
    """The time counts from its first look, however often it looked since."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).gets(None)
    script.asks(LOAD).gets(loaded(now=NOW + 60.0))
    script.asks(begin(good_from=7)).gets(Busy(NOW + 60.0, NOW + 68.0))
    script.asks(LOAD)

    with pytest.raises(WaitTimeout, match=r"f\(1\): .* over 60 s.*Raise wait_timeout"):
        script.gets(loaded(now=NOW + 60.0))


def _script_of_one_who_waited_for_too_long(bounds: Bounds) -> Script[Entry]:
    """An old value is there, and somebody builds for ever; it looks for the last time."""
    script = Script(read(CALL, bounds))
    script.asks(LOAD).gets(loaded(DIRTY))
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).gets(None)
    script.asks(LOAD).gets(loaded(DIRTY, now=NOW + 60.0))
    script.asks(begin(good_from=7)).gets(Busy(NOW + 60.0, NOW + 68.0))
    return script.asks(LOAD)


def test_a_build_that_hangs_has_failed_for_one_who_waited_for_too_long() -> None:
    """The last good value stands in for it, as long as the bound says."""
    script = _script_of_one_who_waited_for_too_long(Bounds(stale_if_error_s=inf))

    script.gets(loaded(DIRTY, now=NOW + 60.0))

    assert script.result == DIRTY


def test_what_is_too_old_does_not_stand_in_for_a_build_that_hangs() -> None:
    """Those who wait are told that they waited."""
    script = _script_of_one_who_waited_for_too_long(Bounds(stale_if_error_s=60.0))

    with pytest.raises(WaitTimeout):
        script.gets(loaded(DIRTY, now=NOW + 60.0))


def test_a_build_that_fails_fails_for_those_who_wait() -> None:
    """Fifty readers of a broken source ask it once."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(DIRTY))
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).meets(DOWN)
    script.asks(LOAD)

    with pytest.raises(ConnectionError, match="down"):
        script.gets(loaded(DIRTY))


def test_those_who_wait_for_a_build_that_fails_may_be_served_the_last_value() -> None:
    """The bounds hold for them as for the builder."""
    script = Script(read(CALL, Bounds(stale_if_error_s=11.0)))

    script.asks(LOAD).gets(loaded(DIRTY))
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).meets(DOWN)
    script.asks(LOAD).gets(loaded(DIRTY))

    assert script.result == DIRTY


def test_those_who_wait_for_a_build_that_fails_get_its_error_if_nothing_is_there() -> None:
    """No bound can stand in for a value that never was."""
    script = Script(read(CALL, Bounds(stale_if_error_s=inf)))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).meets(DOWN)
    script.asks(LOAD)

    with pytest.raises(ConnectionError, match="down"):
        script.gets(NOTHING)


# ---------------------------------------------------------------------------------------------------------- settling

INNER_CALL = call(key=INNER)
INNER_DIRTY = loaded(entry(State.DIRTY, key=INNER, stale_since=NOW), recipe=INNER_CALL.recipe)


def test_a_reader_of_a_suspect_entry_settles_what_is_below() -> None:
    """If the inner value comes out equal, the outer one is fresh again without a build."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(SUSPECT, unsettled=(INNER,)))
    script.asks(Load(INNER)).gets(INNER_DIRTY)
    script.asks(Resolve(INNER, INNER_CALL.recipe)).gets(INNER_CALL)
    script.asks(Bring(INNER_CALL)).gets(None)
    script.asks(LOAD).gets(loaded(FRESH))

    assert script.result == FRESH


@pytest.mark.parametrize("found", [SUSPECT, DIRTY], ids=["suspect-again", "dirty"])
def test_a_reader_settles_once_and_then_builds(found: Entry) -> None:
    """A value that something shakes again and again is built, not chased."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(SUSPECT, unsettled=(INNER,)))
    script.asks(Load(INNER)).gets(INNER_DIRTY)
    script.asks(Resolve(INNER, INNER_CALL.recipe)).gets(INNER_CALL)
    script.asks(Bring(INNER_CALL)).gets(None)
    script.asks(LOAD).gets(loaded(found, unsettled=(INNER,)))

    script.asks(begin(good_from=7))


def test_what_is_suspect_stands_in_when_what_is_below_it_fails() -> None:
    """Its own build would meet the same failure, which its bound covers."""
    script = script_after_settling_failed(Bounds(stale_if_error_s=11.0))

    script.asks(LOAD).gets(loaded(SUSPECT, unsettled=(INNER,)))

    assert script.result == SUSPECT


def test_without_a_bound_what_is_suspect_is_built_though_what_is_below_it_fails() -> None:
    """It may do without that; else its reader hears the error."""
    script = script_after_settling_failed(NOTHING_OLD)

    script.asks(LOAD).gets(loaded(SUSPECT, unsettled=(INNER,)))

    script.asks(begin(good_from=7))


def script_after_settling_failed(bounds: Bounds) -> Script[Entry]:
    script = Script(read(CALL, bounds))
    script.asks(LOAD).gets(loaded(SUSPECT, unsettled=(INNER,)))
    script.asks(Load(INNER)).gets(INNER_DIRTY)
    script.asks(Resolve(INNER, INNER_CALL.recipe)).gets(INNER_CALL)
    script.asks(Bring(INNER_CALL)).meets(DOWN)
    return script


def test_a_suspect_entry_above_nothing_unsettled_is_built() -> None:
    """There is nothing to settle it by."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(loaded(SUSPECT))

    script.asks(begin(good_from=7))


@pytest.mark.parametrize(
    "found",
    [
        loaded(recipe=INNER_CALL.recipe),
        loaded(entry(State.DIRTY, key=INNER, stale_since=NOW)),
        loaded(entry(key=INNER), recipe=INNER_CALL.recipe),
    ],
    ids=["gone", "put-by-hand", "settled-meanwhile"],
)
def test_settling_passes_over_what_nobody_needs_to_bring(found: object) -> None:
    """What is not there, has no recipe, or is settled already."""
    script = Script(settle([INNER]))

    script.asks(Load(INNER)).gets(found)

    assert script.result is True


def test_settling_passes_over_a_function_that_is_not_here() -> None:
    """Another process has it; the others below are brought all the same."""
    script = Script(settle([INNER, KEY]))

    script.asks(Load(INNER)).gets(INNER_DIRTY)
    script.asks(Resolve(INNER, INNER_CALL.recipe)).gets(None)

    script.asks(Load(KEY))


def test_settling_ends_at_the_first_that_fails() -> None:
    """The outer build meets the same error, or does without that entry; to settle the rest would be in vain."""
    script = Script(settle([INNER, KEY]))

    script.asks(Load(INNER)).gets(INNER_DIRTY)
    script.asks(Resolve(INNER, INNER_CALL.recipe)).gets(INNER_CALL)
    script.asks(Bring(INNER_CALL)).meets(DOWN)

    assert script.result is False


# ----------------------------------------------------------------------------------------------------------- failing


def test_a_build_that_fails_is_tried_again_later_and_its_error_raised() -> None:
    """The lease ends at once, and whoever asked hears why."""
    script = script_at_build(found=DIRTY)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("ConnectionError: down", retry_in_s=0.25))

    with pytest.raises(ConnectionError) as caught:
        script.gets(loaded(DIRTY))
    assert caught.value is DOWN


def test_a_build_that_fails_without_anything_kept_raises() -> None:
    """No bound can stand in for a value that never was."""
    script = script_at_build(bounds=Bounds(stale_if_error_s=inf))

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("ConnectionError: down", retry_in_s=0.25))

    with pytest.raises(ConnectionError, match="down"):
        script.gets(NOTHING)


def test_the_last_good_value_stands_in_for_a_build_that_fails() -> None:
    """An upstream that is down takes no page down."""
    script = script_at_build(bounds=Bounds(stale_if_error_s=11.0), found=DIRTY)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("ConnectionError: down", retry_in_s=0.25)).gets(loaded(DIRTY))

    assert script.result == DIRTY


def test_what_another_built_meanwhile_stands_in_for_a_build_that_fails() -> None:
    """Who lost the lease and failed finds a settled value, which even a strict reader may have."""
    script = script_at_build(found=DIRTY)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("ConnectionError: down", retry_in_s=0.25)).gets(loaded(entry(good_as_of=7)))

    assert script.result == entry(good_as_of=7)


def test_what_was_there_before_does_not_stand_in_for_a_strict_reader() -> None:
    """Who asked for a new value, and could not have it, hears why."""
    script = script_at_build(found=DIRTY)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("ConnectionError: down", retry_in_s=0.25))

    with pytest.raises(ConnectionError, match="down"):
        script.gets(loaded(entry(good_as_of=6)))


def test_what_another_built_meanwhile_does_not_stand_in_when_its_time_is_over() -> None:
    """It was as good as a build of one's own, and is not any more."""
    script = script_at_build(found=DIRTY)

    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("ConnectionError: down", retry_in_s=0.25))

    with pytest.raises(ConnectionError, match="down"):
        script.gets(loaded(entry(good_as_of=7, expires_at=NOW)))


@pytest.mark.parametrize("roll", [0.0, 1.0])
def test_one_roll_spreads_the_retry_and_the_pause_of_the_function(roll: float) -> None:
    """Those who failed together come back one by one, whichever of the two they wait for."""
    script = script_at_build(found=DIRTY)

    script.meets(DOWN)
    script.asks(Roll()).gets(roll)

    script.asks(fail("ConnectionError: down", retry_in_s=0.5 * roll, roll=roll))


@pytest.mark.parametrize(("n_failed", "retry_s"), [(0, 0.25), (1, 0.5), (2, 300.0)])
def test_a_makeshift_value_is_built_again_later(n_failed: int, retry_s: float) -> None:
    """The function did without something that failed, so its value is stored and not believed for long."""
    lease = msgspec.structs.replace(LEASE, attempts=n_failed)
    makeshift = replace(BUILT, is_makeshift=True)
    script = Script(attempt(CALL, lease))

    script.asks(Build(CALL, lease)).gets(makeshift)
    script.asks(Roll()).gets(0.5)

    script.asks(replace(commit(), lease=lease, built=makeshift, retry_in_s=retry_s))


@pytest.mark.parametrize(("n_failed", "retry_s"), [(0, 0.25), (1, 0.5), (2, None)])
def test_each_try_in_a_row_waits_longer_until_the_last(n_failed: int, retry_s: float | None) -> None:
    """The lease carries how many failed before."""
    lease = msgspec.structs.replace(LEASE, attempts=n_failed)
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(lease)
    script.asks(Build(CALL, lease)).meets(DOWN)
    script.asks(Roll()).gets(0.5)

    script.asks(replace(fail("ConnectionError: down", retry_s), lease=lease))


def test_a_lease_that_cannot_be_given_back_does_not_hide_the_cancellation() -> None:
    """Whoever cancelled waits for that; the lease runs out by itself."""
    script = script_at_build()
    script.meets(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        script.asks(GiveUp(LEASE)).meets(StoreUnavailable("locked"))


@pytest.mark.parametrize("n_failed", [0, 2])
def test_whose_turn_it_is_builds(n_failed: int) -> None:
    """The last try too."""
    lease = msgspec.structs.replace(LEASE, n_died=n_failed, attempts=50)

    Script(refresh(CALL, lease)).asks(Build(CALL, lease))


@pytest.mark.parametrize("n_failed", [3, 50])
def test_a_build_that_always_ends_with_its_process_is_given_up(n_failed: int) -> None:
    """Nobody was left to count the tries but the leases; the next worker would die of it as well."""
    lease = msgspec.structs.replace(LEASE, n_died=n_failed)
    script = Script(refresh(CALL, lease))

    request = script.request
    assert isinstance(request, Fail)
    assert (request.lease, request.retry_in_s) == (lease, None)
    assert f"{n_failed} builds ended" in request.reason
    script.gets(loaded(DIRTY))

    assert isinstance(script.result, Failure)
    assert isinstance(script.result.error, BuildError)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(), BaseException()], ids=repr)
def test_a_cancelled_build_gives_its_lease_back(interruption: BaseException) -> None:
    """It is no failure: the next may build at once."""
    script = script_at_build()

    script.meets(interruption)
    script.asks(GiveUp(LEASE))

    with pytest.raises(type(interruption)):
        script.gets(None)


def test_a_build_whose_driver_is_gone_asks_for_nothing() -> None:
    """Nobody would carry it out; the lease runs out by itself."""
    script = script_at_build()

    script.is_abandoned()

    assert script.request == Build(CALL, LEASE)


# -------------------------------------------------------------------------------------------------------- rebuilding


def test_a_rebuild_builds_whatever_is_stored() -> None:
    """Somebody knows better than the events."""
    script = Script(rebuild(CALL))

    script.asks(LOAD).gets(loaded(FRESH))
    script.asks(begin(good_from=None)).gets(LEASE)
    script.asks(Build(CALL, LEASE)).gets(BUILT)
    script.asks(commit()).gets(COMMITTED)

    assert script.result == COMMITTED.entry


def test_a_rebuild_takes_no_stand_in() -> None:
    """Who asks for a new value does not want the old one."""
    script = Script(rebuild(call(replace(POLICY, bounds=Bounds(stale_if_error_s=inf)))))

    script.asks(LOAD).gets(loaded(DIRTY))
    script.asks(begin(good_from=None)).gets(LEASE)
    script.meets(DOWN)
    script.asks(Roll()).gets(0.5)

    with pytest.raises(ConnectionError, match="down"):
        script.gets(loaded(DIRTY))


@pytest.mark.parametrize("answer", [BUSY, NotNeeded()], ids=["busy", "not-needed"])
def test_a_rebuild_shares_a_build_that_began_after_it_was_asked_for(answer: object) -> None:
    """What another builds from now on is as new as what it would build itself."""
    script = Script(rebuild(CALL))

    script.asks(LOAD).gets(loaded(FRESH, newest=7))
    script.asks(begin(good_from=None)).gets(answer)
    if isinstance(answer, Busy):
        script.asks(Wait(KEY, 8.0, arrived=at(6))).gets(None)
    script.asks(LOAD).gets(loaded(entry(good_as_of=7), newest=8))

    assert script.result == entry(good_as_of=7)


@pytest.mark.parametrize("found", [None, entry(good_as_of=6)], ids=["nothing", "older"])
def test_a_rebuild_does_not_take_a_build_that_began_before(found: Entry | None) -> None:
    """That build may have read what has changed since."""
    script = Script(rebuild(CALL))

    script.asks(LOAD).gets(loaded(FRESH, newest=7))
    script.asks(begin(good_from=None)).gets(BUSY)
    script.asks(Wait(KEY, 8.0, arrived=at(6))).gets(None)
    script.asks(LOAD).gets(loaded(found, newest=8))

    script.asks(begin(good_from=None))
