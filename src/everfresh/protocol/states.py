"""The states of an entry as a table.

Rules
- TOUCH: an event met one of the entry's dependencies, or the value of an entry that it was built from changed.
- SHAKE: an entry that it was built from, directly or not, became unsettled; whether its value changes is open.
- SETTLE: all that is below is settled again, with the values that this entry was built from.
- BEGIN: somebody took the lease. It is held until COMMIT, FAIL or GIVE_UP, whatever the state becomes meanwhile.
- KEEP: a build of a settled entry ended without a value, which says nothing against the old one.
- COMMIT, COMMIT_SHAKEN, COMMIT_OUTRUN: the build ended well; something below is unsettled; a dependency fired.

Invariants
- FRESH and a plain BUILDING are the only states without `stale_since`.
- A step that is not in the table is a bug in the store, and `next_state` says so.
"""

from __future__ import annotations

from enum import Enum

from everfresh.model.entry import State


class Step(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """What can happen to an entry."""

    TOUCH = "touch"
    SHAKE = "shake"
    SETTLE = "settle"
    BEGIN = "begin"
    COMMIT = "commit"
    COMMIT_SHAKEN = "commit_shaken"
    COMMIT_OUTRUN = "commit_outrun"
    FAIL = "fail"
    EXHAUST = "exhaust"
    GIVE_UP = "give_up"
    KEEP = "keep"


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.FRESH, Step.TOUCH): State.DIRTY,
    (State.FRESH, Step.SHAKE): State.SUSPECT,
    (State.FRESH, Step.BEGIN): State.BUILDING,
    (State.SUSPECT, Step.TOUCH): State.DIRTY,
    (State.SUSPECT, Step.SHAKE): State.SUSPECT,
    (State.SUSPECT, Step.SETTLE): State.FRESH,
    (State.SUSPECT, Step.BEGIN): State.BUILDING,
    (State.DIRTY, Step.TOUCH): State.DIRTY,
    (State.DIRTY, Step.SHAKE): State.DIRTY,
    (State.DIRTY, Step.BEGIN): State.BUILDING,
    # The lease outlives the state: an event during the build made the entry dirty, and its value, which may have been
    # read before the event, is stored but settles nothing.
    (State.DIRTY, Step.COMMIT): State.DIRTY,
    (State.DIRTY, Step.COMMIT_SHAKEN): State.DIRTY,
    (State.DIRTY, Step.COMMIT_OUTRUN): State.DIRTY,
    (State.DIRTY, Step.FAIL): State.DIRTY,
    (State.DIRTY, Step.EXHAUST): State.DIRTY,
    (State.DIRTY, Step.GIVE_UP): State.DIRTY,
    # Whether what is below was read before or after it shook is settled by the commit, which compares digests.
    (State.BUILDING, Step.SHAKE): State.BUILDING,
    (State.BUILDING, Step.TOUCH): State.DIRTY,
    (State.BUILDING, Step.BEGIN): State.BUILDING,
    (State.BUILDING, Step.COMMIT): State.FRESH,
    (State.BUILDING, Step.COMMIT_SHAKEN): State.SUSPECT,
    (State.BUILDING, Step.COMMIT_OUTRUN): State.DIRTY,
    (State.BUILDING, Step.FAIL): State.DIRTY,
    (State.BUILDING, Step.EXHAUST): State.FAILED,
    (State.BUILDING, Step.GIVE_UP): State.DIRTY,
    # A refresh that somebody asked for by hand failed: nothing is known against the old value.
    (State.BUILDING, Step.KEEP): State.FRESH,
    (State.FAILED, Step.TOUCH): State.DIRTY,
    (State.FAILED, Step.SHAKE): State.FAILED,
    (State.FAILED, Step.BEGIN): State.BUILDING,
}


def next_state(state: State, step: Step) -> State:
    """The state after the step.

    Raises:
        KeyError: the step cannot happen in this state.
    """
    return TRANSITIONS[state, step]
