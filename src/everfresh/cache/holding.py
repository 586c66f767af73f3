"""Holding: the leases of many entries that are built together are renewed from the first to the last step of that.

One build holds its lease while it runs. Of many, the first lease is taken long before the run begins, and the last
value stored long after it has ended.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar, cast

from everfresh.cache.builds import Run, runs
from everfresh.cache.keeper import LeaseKeeper
from everfresh.model.entry import Lease
from everfresh.protocol.requests import Begin, Commit, Fail, GiveUp, Steps

T = TypeVar("T")


@contextmanager
def running(run: Run, keeper: LeaseKeeper) -> Generator[None]:
    """Renew the leases of the run while it runs, and end it, however that goes."""
    held: list[Lease] = []
    runs.begin()
    try:
        leases, lease_s = () if run.is_alone else run.leases, run.spec.policy.lease_s
        held.extend(lease for lease in leases if keeper.hold(lease, lease_s))
        yield
    finally:
        for lease in held:
            keeper.release(lease)
        run.end()
        runs.end()


def holding(steps: Steps[T], keeper: LeaseKeeper) -> Steps[T]:
    """The same steps; each lease that they take is renewed until they end it, or are at an end themselves."""
    held: dict[int, Lease] = {}
    try:
        request = next(steps)
        while True:
            try:
                answer = yield request
            except BaseException as error:  # noqa: BLE001 - the rules decide what an error means
                request = steps.throw(error)
                continue
            match request:
                case Begin(lease_s=lease_s) if isinstance(answer, Lease):
                    keeper.hold(answer, lease_s)
                    held[answer.token] = answer
                case Commit(lease=lease) | Fail(lease=lease) | GiveUp(lease=lease):
                    keeper.release(lease)
                    held.pop(lease.token, None)
                case _:
                    pass
            request = steps.send(answer)
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        for lease in held.values():
            keeper.release(lease)
