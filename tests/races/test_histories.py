"""Readers, workers, writers, deaths and jumps of the clock, in any order that Hypothesis can think of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.races.history import History, Move
from tests.races.world import world_on

NAMES = [name for name, weight in History.MOVES.items() for _ in range(weight)]
# Hypothesis shrinks what it finds, which takes its time.
pytestmark = pytest.mark.timeout(300)

moves = st.tuples(st.sampled_from(NAMES), st.integers(0, 59))
histories = st.lists(moves, min_size=30, max_size=100)


@settings(max_examples=200, deadline=None)
@given(history=histories)
def test_no_history_breaks_a_promise_in_memory(history: list[Move]) -> None:
    """No strict reader is served an older truth, versions only grow, and when all is quiet all is fresh and true."""
    with world_on("memory") as world:
        History(world).play(history)


@settings(max_examples=40, deadline=None)
@given(history=histories)
def test_no_history_breaks_a_promise_in_a_file(history: list[Move]) -> None:
    """The same for two processes over one file."""
    with world_on("sqlite") as world:
        History(world).play(history)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_history_without_a_fault_is_quiet(store: str) -> None:
    """When nothing happens after everything was read, nothing is built twice."""
    with world_on(store) as world:
        History(world).play([("warm", 0), *[("refresh", 0), ("finish", 0)] * 3])

        assert all(n_built <= 2 for n_built in world.n_built.values()), world.n_built
