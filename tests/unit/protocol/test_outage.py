"""Reading while the store does not answer, line by line: who is served what, and what is not asked twice."""

from dataclasses import replace
from math import inf

import msgspec
import pytest

from everfresh.model.entry import Entry, Key, State
from everfresh.model.errors import StoreUnavailable
from everfresh.model.position import Position
from everfresh.protocol.acknowledging import Behind, Pause, acknowledged
from everfresh.protocol.outage import WITHOUT_STORE, lease_alone
from everfresh.protocol.reading import read, rebuild
from everfresh.protocol.reading_many import MAX_AT_ONCE, read_many
from everfresh.protocol.requests import (
    NOTHING_OLD,
    STRICT,
    Bounds,
    Build,
    BuildAlone,
    LoadMany,
    OnStoreFailure,
    Recall,
    Roll,
)
from tests.unit.protocol.making import (
    BUILT,
    CALL,
    INNER,
    KEY,
    LEASE,
    LOAD,
    NOTHING,
    POLICY,
    at,
    begin,
    call,
    commit,
    entry,
    fail,
)
from tests.unit.protocol.script import Script

GONE = StoreUnavailable("no connection")
ITS_OWN = StoreUnavailable("another store")
STRICT_CALL = call(replace(POLICY, on_store_failure=OnStoreFailure.RAISE))
LENIENT = Bounds(stale_while_revalidate_s=5.0)


def alone(found: Entry) -> bool:
    """Whether the entry was built for its reader alone."""
    return (found.value, found.reason, found.position) == (BUILT.value, WITHOUT_STORE, Position("", 0))


def test_the_function_is_called_for_its_reader() -> None:
    """Nothing of it is stored, and it is good as of nothing."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).meets(GONE)
    script.asks(BuildAlone((CALL,))).gets((BUILT,))

    assert alone(script.result)
    assert script.result.stale_since is not None


def test_what_the_function_raises_is_raised() -> None:
    """There is nobody to tell it to."""
    script = Script(read(CALL, STRICT))

    script.asks(LOAD).meets(GONE)
    script.asks(BuildAlone((CALL,), is_strict=True))

    with pytest.raises(LookupError, match="no such thing"):
        script.gets((LookupError("no such thing"),))


def test_who_wants_to_be_told_is_told() -> None:
    """By the function's policy."""
    script = Script(read(STRICT_CALL, NOTHING_OLD))

    script.asks(LOAD)

    with pytest.raises(StoreUnavailable, match="no connection"):
        script.meets(GONE)


def test_what_is_held_near_is_served_within_the_bounds() -> None:
    """The longer of the two decides."""
    held = entry(State.SUSPECT, stale_since=1.0)
    script = Script(read(CALL, LENIENT))

    script.asks(LOAD).meets(GONE)
    script.asks(Recall(KEY)).gets((held, 4.9))

    assert script.result == held


@pytest.mark.parametrize(
    "recalled",
    [
        None,
        (entry(State.SUSPECT, stale_since=1.0), 5.0),
        (msgspec.structs.replace(entry(State.SUSPECT, stale_since=1.0), function="g"), 0.0),
    ],
    ids=["nothing", "too-old", "anothers"],
)
def test_beyond_the_bounds_the_function_is_called(recalled: tuple[Entry, float] | None) -> None:
    """Nobody can tell whether it is current."""
    script = Script(read(CALL, LENIENT))

    script.asks(LOAD).meets(GONE)
    script.asks(Recall(KEY)).gets(recalled)
    script.asks(BuildAlone((CALL,))).gets((BUILT,))

    assert alone(script.result)


def test_what_was_built_is_its_readers_though_it_cannot_be_stored() -> None:
    """The function is not called again for an answer that is there."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(LEASE)
    script.asks(Build(CALL, LEASE)).gets(BUILT)
    script.asks(commit()).meets(GONE)

    assert (script.result.value, script.result.reason) == (BUILT.value, WITHOUT_STORE)


def test_who_wants_to_be_told_hears_that_it_cannot_be_stored() -> None:
    """As nobody else will have it."""
    script = Script(read(STRICT_CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(LEASE)
    script.asks(Build(STRICT_CALL, LEASE)).gets(BUILT)

    script.asks(commit())

    with pytest.raises(StoreUnavailable, match="no connection"):
        script.meets(GONE)


def test_the_functions_error_is_raised_though_the_store_cannot_be_told() -> None:
    """Once, and as it is."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(LEASE)
    script.asks(Build(CALL, LEASE)).meets(LookupError("no such thing"))
    script.asks(Roll()).gets(0.5)
    script.asks(fail("LookupError: no such thing", 0.25))

    with pytest.raises(LookupError, match="no such thing"):
        script.meets(GONE)


def test_a_store_error_of_the_function_is_its_own() -> None:
    """It may have a store of its own, which is no reason to call it twice."""
    script = Script(read(CALL, NOTHING_OLD))

    script.asks(LOAD).gets(NOTHING)
    script.asks(begin(good_from=7)).gets(LEASE)
    script.asks(Build(CALL, LEASE)).meets(ITS_OWN)
    script.asks(Roll()).gets(0.5)
    script.asks(fail("StoreUnavailable: another store", 0.25))

    with pytest.raises(StoreUnavailable, match="another store"):
        script.gets(NOTHING)


def test_a_refresh_by_hand_is_refused() -> None:
    """It is the store that was to be brought up to date."""
    script = Script(rebuild(CALL))

    script.asks(LOAD)

    with pytest.raises(StoreUnavailable, match="no connection"):
        script.meets(GONE)


def test_many_are_built_in_one_run_for_their_reader() -> None:
    """What is held near within the bounds is left out of it."""
    other = call(key=INNER)
    held = msgspec.structs.replace(entry(State.SUSPECT, key=INNER, stale_since=1.0), function="f")
    script = Script(read_many([CALL, other], LENIENT))

    script.asks(LoadMany((KEY, INNER), "f1")).meets(GONE)
    script.asks(Recall(KEY)).gets(None)
    script.asks(Recall(INNER)).gets((held, 1.0))
    script.asks(BuildAlone((CALL,))).gets((BUILT,))

    first, second = script.result
    assert alone(first)
    assert second == held


def test_very_many_are_built_in_several_runs() -> None:
    """None is longer than any other."""
    calls = [call(key=Key(f"f({number})")) for number in range(MAX_AT_ONCE + 1)]
    script = Script(read_many(calls, STRICT))

    script.meets(GONE)
    script.asks(BuildAlone(tuple(calls[:-1]), is_strict=True)).gets((BUILT,) * MAX_AT_ONCE)
    script.asks(BuildAlone((calls[-1],), is_strict=True)).gets((BUILT,))

    assert [found.key for found in script.result] == [one.key for one in calls]


def test_a_lease_that_nobody_gave_never_runs_out() -> None:
    """It fences nothing."""
    lease = lease_alone(KEY)

    assert (lease.key, lease.token, lease.until, lease.begun) == (KEY, 0, inf, Position("", 0))


# ------------------------------------------------------------------------------------------------------- acknowledged


def test_who_waits_for_followers_asks_until_none_is_behind() -> None:
    """Less and less often, and never longer than the last of them may take."""
    script = Script(acknowledged(at(9)))

    pauses: list[float] = []
    for left_s in (1.0, 0.9, 0.8, 0.0001):
        script.asks(Behind(at(9))).gets(left_s)
        assert isinstance(script.request, Pause)
        pauses.append(script.request.seconds)
        script.gets(None)
    script.asks(Behind(at(9))).gets(0.0)

    assert script.result is None
    assert pauses == [0.0005, 0.001, 0.002, 0.0001]
