"""Engine: one cache's parts, and the calls that its drivers carry out with them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from everfresh.cache.attention import Attention
from everfresh.cache.flights import Flights
from everfresh.cache.keeper import LeaseKeeper
from everfresh.cache.near import NearCache
from everfresh.cache.notices import NoticeBoard
from everfresh.cache.predicates import Predicates
from everfresh.cache.signatures import Arguments, is_unchangeable
from everfresh.cache.spec import BoundCall, Spec
from everfresh.cache.telling import Teller
from everfresh.cache.tracking import LATER, Frame, Later, generations_of, open_frame
from everfresh.feed.follower import Follower
from everfresh.feed.following import follower_of
from everfresh.feed.wakers import Wakers
from everfresh.matching.index import Shapes
from everfresh.matching.shapes import Shape
from everfresh.model.clock import Clock, Dice, fair_dice, wall_clock
from everfresh.model.dependency import Undescribed
from everfresh.model.entry import Entry, Key, Lease, Recipe, State
from everfresh.model.errors import StoreUnavailable, UnknownFunction
from everfresh.model.position import Position
from everfresh.protocol.requests import Committed, Fail, Load, Loaded
from everfresh.stores.store import Store

__all__ = ["BoundCall", "Engine", "Spec"]


class Engine:
    """What readers, workers and publishers of one cache share."""

    def __init__(self, store: Store, *, n_near: int, clock: Clock = wall_clock, dice: Dice = fair_dice) -> None:
        self.store = store
        self.clock = clock
        self.dice = dice
        self.production_mode = False
        """Whether a list that nobody described is a warning, and no error."""
        self.max_generations = 8
        """How many builds may follow from each other's events."""
        self.board = NoticeBoard()
        self.near = NearCache(n_near)
        self.wakers = Wakers()
        self.shapes = Shapes()
        self.functions: dict[str, Spec] = {}
        self.predicates = Predicates(self.functions, self.board)
        self.keeper = LeaseKeeper(store, self.board)
        self.attention = Attention(store, self.near, self.board, clock)
        store.ask_last_read(self.attention.last_read)
        self.follower = follower_of(store, self.near.lapse)
        self.confirm_near = self._confirm if isinstance(self.follower, Follower) else self.follower.confirm
        """Makes sure that nothing is held near that is not current."""
        self.follower.add(self.near)
        self.follower.add(self.wakers)
        self.hushed: dict[tuple[str, int], str] = {}
        """All that may be told of a build whose error may hold a secret, by its lease until that ends."""
        # Calls of functions that readers share while the store does not answer.
        self.flights = Flights()
        self.teller = Teller(store, self.follower)

    @property
    def is_near_exact(self) -> bool:
        """Whether what is held near is never behind the store, once it is confirmed."""
        return isinstance(self.follower, Follower)

    def bind(self, spec: Spec, arguments: Arguments, key: Key) -> BoundCall:
        """The call of the function with these arguments."""
        # What the caller may change meanwhile is encoded now; to encode what it cannot costs a tenth of a hit.
        is_same_later = is_unchangeable(arguments)
        made = None if is_same_later else Recipe(spec.name, spec.signature.encode(arguments))
        return self._bound(spec, arguments, key, made)

    def _bound(self, spec: Spec, arguments: Arguments, key: Key, made: Recipe | None) -> BoundCall:
        return BoundCall(
            key=key,
            fingerprint=spec.fingerprint(),
            shapes=spec.shapes,
            policy=spec.policy,
            watched=spec.watched,
            spec=spec,
            arguments=arguments,
            made=made,
        )

    def resolve(self, key: Key, recipe: Recipe) -> BoundCall:
        """The call that a recipe stands for.

        Raises:
            UnknownFunction: this process does not have the function.
            ArgumentNotSupported: the function's signature is another one by now.
        """
        spec = self.functions.get(recipe.function)
        if spec is None:
            msg = f"{key}: this process has no function {recipe.function!r}. Import the module that declares it."
            raise UnknownFunction(msg)
        return self._bound(spec, spec.signature.decode(recipe.arguments), key, recipe)

    def frame(
        self, keys: tuple[Key, ...], leases: Sequence[Lease], *, is_strict: bool = False, is_alone: bool = False
    ) -> Frame:
        """The frame of a run that builds these entries; alone, nothing is told to the store, nor asked of it."""
        outer = open_frame()
        if is_alone and outer is not None:
            # What it is built from, nobody watches over.
            outer.is_makeshift = True

        def warn(dependency: Undescribed) -> None:
            self.warn_undescribed(keys[0], dependency)

        return Frame(
            keys if outer is None else (*outer.chain, *keys),
            _begun(leases),
            tell=_tell_nobody if is_alone else self.teller.tell,
            see=_see_nothing if is_alone else self.see,
            warn=warn if self.production_mode else None,
            cause=max([generations_of(outer, lease) for lease in leases], key=len),
            outer=outer,
            is_strict=is_strict,
            begun_at=min(lease.begun_at for lease in leases),
        )

    def recall(self, key: Key) -> tuple[Entry, float] | None:
        """What was held near when the store was lost sight of; for how many seconds nobody has vouched for it."""
        found = self.near.lapsed(key)
        if found is None:
            return None
        entry, unknown_s = found
        now, end = self.clock(), entry.ends_at()
        unknown_s = unknown_s if end is None else max(unknown_s, now - end)
        reason = "the store does not answer"
        return replace(entry, state=State.SUSPECT, stale_since=now - unknown_s, reason=reason), unknown_s

    def warn_undescribed(self, key: str, dependency: Undescribed) -> None:
        """Tell of a value that hangs on a list which nobody described, so that it is not kept."""
        self.board.tell("scope.undescribed", key=key, type=dependency.type, names=dependency.names)

    def announce_commit(self, committed: Committed, role: str) -> None:
        """Tell of a value that was built."""
        entry = committed.entry
        self.board.tell(
            f"{role}.done",
            key=entry.key,
            changed=committed.is_changed,
            version=entry.version,
            build_s=entry.build_s,
            position=entry.changed_at,
        )
        if committed.is_recovery:
            self.board.tell("breaker.closed", function=entry.function)

    def announce_failure(self, request: Fail, kept: Loaded, role: str) -> None:
        """Tell of a build that raised."""
        attempts, retry_s, entry = 1, request.retry_in_s, kept.entry
        if entry is not None:
            # The store may have put it off for a pause, or left it at an earlier time.
            attempts, retry_s = entry.attempts, None if entry.retry_at is None else max(entry.retry_at - kept.now, 0.0)
        self.board.tell(
            f"{role}.failed", key=request.lease.key, error=request.reason, attempts=attempts, retry_in_s=retry_s
        )
        if kept.broken is not None:
            function, pause_s = kept.broken
            self.board.tell("breaker.opened", function=function, error=request.reason, pause_s=pause_s)

    def close(self) -> None:
        """Stop the threads and let go of the store."""
        self.attention.close()
        self.keeper.close()
        self.follower.stop()
        self.store.close()
        # Whoever waits looks again, and is told by the store.
        self.follower.start_over()

    def _confirm(self) -> None:
        try:
            self.follower.confirm()
        except StoreUnavailable:
            # Who asks the store now hears of it, and does what its function's policy says.
            self.near.lapse()

    def see(self, key: Key) -> Entry | Later | None:
        """The entry, for the build that calls; None where it cannot be seen."""
        if self.teller.must_not_wait:
            return LATER
        # What cannot be seen counts as not there, which no commit takes for the truth.
        with suppress(StoreUnavailable):
            return self.store.carry_out(Load(key)).entry
        return None


def _begun(leases: Sequence[Lease]) -> Position:
    """Where a run under all of them began; in no epoch when they are of several shards, whose orders do not compare."""
    if len(leases) == 1:
        return leases[0].begun
    latest = max((lease.begun for lease in leases), key=lambda begun: begun.sequence)
    return latest if len({lease.begun.epoch for lease in leases}) == 1 else Position("", latest.sequence)


def _tell_nobody(_: Shape) -> None:
    """Nothing that is built alone is stored, so no event need reach it."""


def _see_nothing(_: Key) -> None:
    """Nothing can be seen."""
