import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from everfresh.model.entry import State
from everfresh.protocol.states import TRANSITIONS, Step, next_state

ROOT = Path(__file__).parents[3]
COMMITS = (Step.COMMIT, Step.COMMIT_SHAKEN, Step.COMMIT_OUTRUN)
ENDS_OF_A_LEASE = (*COMMITS, Step.FAIL, Step.EXHAUST, Step.GIVE_UP)


@pytest.mark.parametrize(("state", "step"), TRANSITIONS, ids=lambda word: word.value)
def test_a_step_leads_where_the_table_says(state: State, step: Step) -> None:
    """The table is the rule; nothing else knows it."""
    assert next_state(state, step) is TRANSITIONS[state, step]


@pytest.mark.parametrize(
    ("state", "step"), sorted(set(product(State, Step)) - TRANSITIONS.keys()), ids=lambda word: word.value
)
def test_a_step_that_is_not_in_the_table_is_an_error(state: State, step: Step) -> None:
    """A store that takes it has a bug, and goes no further."""
    with pytest.raises(KeyError):
        next_state(state, step)


@pytest.mark.parametrize("state", State)
def test_an_event_leaves_no_entry_as_it_was(state: State) -> None:
    """Whatever was known of the entry, it may miss the event now."""
    assert next_state(state, Step.TOUCH) is State.DIRTY


@pytest.mark.parametrize("step", ENDS_OF_A_LEASE)
def test_an_event_during_a_build_outlives_its_end(step: Step) -> None:
    """The function may have read the fact before it changed, so its answer cannot settle the event."""
    touched = next_state(next_state(State.DIRTY, Step.BEGIN), Step.TOUCH)

    assert next_state(touched, step) is State.DIRTY


@pytest.mark.parametrize("state", State)
def test_any_entry_can_be_built(state: State) -> None:
    """A reader may need it, or a person want it, in whatever state it is."""
    assert next_state(state, Step.BEGIN) is State.BUILDING


def test_only_a_commit_or_what_is_below_makes_an_entry_fresh() -> None:
    """Or a build that was begun by hand and ended without a value: nothing speaks against the old one."""
    ways = {(state, step) for (state, step), target in TRANSITIONS.items() if target is State.FRESH}

    assert ways == {(State.BUILDING, Step.COMMIT), (State.BUILDING, Step.KEEP), (State.SUSPECT, Step.SETTLE)}


def test_only_the_last_try_gives_an_entry_up() -> None:
    """And an event, or a person, takes it up again."""
    ways = {(state, step) for (state, step), target in TRANSITIONS.items() if target is State.FAILED}

    assert ways == {(State.BUILDING, Step.EXHAUST), (State.FAILED, Step.SHAKE)}


@pytest.mark.parametrize("state", [State.FRESH, State.SUSPECT, State.FAILED])
def test_a_lease_ends_only_where_one_may_be_held(state: State) -> None:
    """Whoever holds a lease finds the entry building, or dirty since."""
    assert not any((state, step) in TRANSITIONS for step in (*ENDS_OF_A_LEASE, Step.KEEP))


@pytest.mark.parametrize("state", State)
def test_no_state_is_a_dead_end(state: State) -> None:
    """From each there is a way to fresh."""
    reached = {state}
    for _ in State:
        reached |= {target for (source, _), target in TRANSITIONS.items() if source in reached}

    assert State.FRESH in reached


def test_the_picture_in_the_docs_is_that_of_the_table() -> None:
    """Run scripts/state_diagram.py after a change of the table."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/state_diagram.py"), "--check"],
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    assert done.returncode == 0, done.stdout
