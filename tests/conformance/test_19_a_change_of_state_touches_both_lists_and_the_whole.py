"""Conformance 19: a build of a package goes from one state to the next."""

from collections.abc import Callable

import pytest

from everfresh import Event, dep, track
from everfresh.testing.plugin import AssertTouches
from tests.cache.making import Colour, done

ROW = Event.change("build", before={"id": 1, "state": 0}, after={"id": 1, "state": 1}, changed=["state"])
MESSAGE = Event("buildsys.build.state.change", {"build_id": 1, "old": 0, "new": 1})


State = int | None


def row_lists(state: State) -> list[dep.Dependency]:
    """A list that hangs on rows and shows their states."""
    return [dep.Scope("build", {} if state is None else {"state": state}, watch=("state",))]


def message_lists(state: State) -> list[dep.Dependency]:
    """A list that hangs on messages which tell the old and the new state."""
    if state is None:
        return [dep.Topic("buildsys.build.#")]
    return [dep.Topic("buildsys.build.#", where={field: state}) for field in ("old", "new")]


@pytest.mark.parametrize(("depends_on", "event"), [(row_lists, ROW), (message_lists, MESSAGE)], ids=["row", "message"])
async def test_a_build_that_goes_from_0_to_1_touches_the_lists_of_both_and_the_unfiltered_one(
    colour: Colour,
    assert_touches: AssertTouches,
    depends_on: Callable[[State], list[dep.Dependency]],
    event: Event,
) -> None:
    """19: and no other state's."""

    @colour.cached()
    async def builds(state: int | None) -> list[int]:
        track(*depends_on(state))
        return []

    for state in (0, 1, 2, 3, None):
        await done(builds(state))

    assert_touches(event, [builds.key(0), builds.key(1), builds.key(None)])
