"""`holding`: the leases that steps take are held until they end them."""

from typing import Any

import pytest

from everfresh.cache.holding import holding
from everfresh.model.entry import Lease
from everfresh.protocol.reading import begin
from everfresh.protocol.requests import Fail, GiveUp, NotNeeded, Roll, Steps, ask
from tests.unit.protocol.making import LEASE, call

BEGIN = begin(call(), None)
FAIL = Fail(lease=LEASE, fingerprint=None, reason="down", retry_in_s=None)


class Keeper:
    """What is held now, and for how long."""

    def __init__(self) -> None:
        self.held: dict[Lease, float] = {}

    def hold(self, lease: Lease, lease_s: float) -> bool:
        """Hold it."""
        self.held[lease] = lease_s
        return True

    def release(self, lease: Lease) -> None:
        """Let it go."""
        self.held.pop(lease, None)


@pytest.fixture
def keeper() -> Keeper:
    """One that holds nothing yet."""
    return Keeper()


def begun(keeper: Keeper, steps: Steps[Any], answer: object = LEASE) -> Steps[Any]:
    """The steps, whose first request is answered."""
    held = holding(steps, keeper)  # type: ignore[arg-type]  # it does what a keeper does
    assert next(held) == BEGIN
    held.send(answer)
    return held


def two_steps(last: Any = FAIL) -> Steps[str]:  # noqa: ANN401 - any request
    """Take a lease, and ask for something else."""
    yield from ask(BEGIN)
    yield from ask(Roll())
    yield from ask(last)
    yield from ask(Roll())
    return "done"


def test_a_lease_is_held_from_the_step_that_gave_it(keeper: Keeper) -> None:
    """For as long as it was taken for."""
    _steps = begun(keeper, two_steps())

    assert keeper.held == {LEASE: 10.0}


def test_nothing_is_held_when_no_lease_was_given(keeper: Keeper) -> None:
    """Somebody else has it, or nobody needs to build."""
    _steps = begun(keeper, two_steps(), NotNeeded())

    assert keeper.held == {}


@pytest.mark.parametrize("last", [FAIL, GiveUp(LEASE)], ids=["fail", "give up"])
def test_it_is_let_go_when_its_end_is_done(keeper: Keeper, last: object) -> None:
    """Not before: the step itself may take long."""
    steps = begun(keeper, two_steps(last))
    steps.send(0.5)
    before = dict(keeper.held)
    steps.send(None)

    assert (before, keeper.held) == ({LEASE: 10.0}, {})


def test_an_error_goes_to_the_steps_and_leaves_the_lease_held(keeper: Keeper) -> None:
    """They may still end it."""

    def patient() -> Steps[None]:
        yield from ask(BEGIN)
        try:
            yield from ask(Roll())
        except ValueError:
            yield from ask(FAIL)

    steps = begun(keeper, patient())

    assert (steps.throw(ValueError()), keeper.held) == (FAIL, {LEASE: 10.0})


def test_what_is_still_held_at_the_end_is_let_go(keeper: Keeper) -> None:
    """Steps that end by an error, say of a store that does not answer."""
    steps = begun(keeper, two_steps())
    with pytest.raises(ValueError, match="down"):
        steps.throw(ValueError("down"))

    assert keeper.held == {}


def test_steps_that_are_abandoned_hold_nothing(keeper: Keeper) -> None:
    """Their driver is gone, so the leases may run out."""
    begun(keeper, two_steps()).close()

    assert keeper.held == {}


def test_the_steps_give_what_they_give(keeper: Keeper) -> None:
    """Nothing else is changed."""
    steps = begun(keeper, two_steps())
    steps.send(0.5)
    steps.send(None)
    with pytest.raises(StopIteration) as stop:
        steps.send(0.5)

    assert stop.value.value == "done"
