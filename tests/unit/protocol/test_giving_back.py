"""A cancellation gives every lease back before it goes on, whoever builds."""

from collections.abc import Callable
from typing import Any

import pytest

from everfresh.model.entry import Lease, Recipe
from everfresh.protocol.queueing import Due, TookDue, leases_in
from everfresh.protocol.reading import attempt
from everfresh.protocol.reading_many import read_many, refresh_many
from everfresh.protocol.requests import NOTHING_OLD, Build, BuildMany, GiveUp, LoadMany
from tests.unit.protocol.making import CALL, LEASE, NOTHING, begin
from tests.unit.protocol.script import Script


class Cancelled(BaseException):
    """As an event loop's, or a worker's that is to end."""


def of_one() -> Script[Any]:
    """A reader or a worker, at its build."""
    return Script(attempt(CALL, LEASE)).asks(Build(CALL, LEASE))


def of_readers() -> Script[Any]:
    """A reader of many, at their build."""
    script: Script[Any] = Script(read_many((CALL,), NOTHING_OLD))
    script.asks(LoadMany((CALL.key,), CALL.fingerprint)).gets((NOTHING,))
    script.asks(begin(good_from=7)).gets(LEASE)
    return script.asks(BuildMany((CALL,), (LEASE,)))


def of_workers() -> Script[Any]:
    """A worker that refreshes many, at their build."""
    return Script(refresh_many((CALL,), (LEASE,))).asks(BuildMany((CALL,), (LEASE,)))


@pytest.mark.parametrize("script_at_build", [of_one, of_readers, of_workers])
def test_who_is_cancelled_gives_its_lease_back_first(script_at_build: Callable[[], Script[Any]]) -> None:
    """Others need not wait until it runs out."""
    script = script_at_build()

    script.meets(Cancelled())
    script.asks(GiveUp(LEASE))

    with pytest.raises(Cancelled):
        script.gets(None)


@pytest.mark.parametrize(
    ("answer", "leases"),
    [
        (LEASE, (LEASE,)),
        (TookDue((Due(LEASE, Recipe("f", b"")),), now=1.0, next_due=None), (LEASE,)),
        (TookDue((), now=1.0, next_due=None), ()),
        (NOTHING, ()),
        (None, ()),
    ],
)
def test_the_leases_that_an_answer_gives_are_known(answer: object, leases: tuple[Lease, ...]) -> None:
    """So that who is too late to use them can give them back."""
    assert leases_in(answer) == leases
