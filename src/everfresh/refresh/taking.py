"""Taking: what a lane asks the queue for, what it tells of the answer, and when it looks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from everfresh.cache.engine import Engine, Spec
from everfresh.cache.secrets import told_of
from everfresh.feed.follower import Listener
from everfresh.model.entry import FeedRecord, Kind
from everfresh.model.marks import override
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.requests import Fail

# How often the queue is looked at when nothing rings: for leases of builders that died elsewhere.
LOOK_EVERY_S = 1.0


class Bell(Listener):
    """Rings when something may have fallen due; from any thread."""

    def __init__(self, engine: Engine, ring: Callable[[], object]) -> None:
        self._engine = engine
        self._ring = ring

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        if any(record.kind in (Kind.STALE, Kind.FAILED) for record in records) or self._is_held_back():
            self._ring()

    @override
    def on_reset(self) -> None:
        self._ring()

    def _is_held_back(self) -> bool:
        """Whether the end of any build, in another process too, may let another begin."""
        return any(spec.policy.limit.n_at_once is not None for spec in specs_of(self._engine))


def specs_of(engine: Engine) -> list[Spec]:
    """The functions as they are now; others may be declared meanwhile."""
    return list(engine.functions.values())


def take_request(engine: Engine, n_free: int, *, is_async: bool) -> TakeDue | None:
    """What to ask the queue for; None when there is no room or no function of this colour."""
    specs = [spec for spec in specs_of(engine) if spec.is_async == is_async]
    if not n_free or not specs:
        return None
    # A build renews the lease by its own function's length.
    lease_s = min(spec.policy.lease_s for spec in specs)
    return TakeDue({spec.name: spec.policy.limit for spec in specs}, n_free, lease_s)


def tell_dropped(engine: Engine, took: TookDue) -> None:
    """Report the entries that were dropped instead of refreshed."""
    for key in took.expired:
        engine.board.tell("job.expired", key=key)
    for key in took.cold:
        engine.board.tell("refresh.cold", key=key)


def refusal(due: Due, error: Exception) -> Fail:
    """End the lease of an entry that this process cannot build, for good."""
    return Fail(lease=due.lease, fingerprint=None, reason=told_of(error), retry_in_s=None)


def pause_s(request: TakeDue | None, took: TookDue | None) -> float:
    """How long the queue can be left alone when nothing rings."""
    if request is None or took is None:
        return LOOK_EVERY_S
    if len(took.due) + len(took.expired) + len(took.cold) >= request.n_max:
        # There may be more of what was taken.
        return 0.0
    if took.next_due is None:
        return LOOK_EVERY_S
    return min(max(took.next_due - took.now, 0.0), LOOK_EVERY_S)
