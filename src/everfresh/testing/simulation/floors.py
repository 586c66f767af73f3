"""Floors: how far each fact must have come in what a reader is served, told of or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from everfresh.model.clock import Clock
from everfresh.model.position import Position
from everfresh.protocol.requests import NOTHING_OLD, Bounds
from everfresh.testing.simulation.stage import Stage
from everfresh.testing.simulation.truths import Facts, Leniency, facts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What a reader must not miss: what was told of by then, `said` counting all that was noted until it was."""

    told: Facts
    at: float
    said: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a value must meet: true after `low`, but for what stood in below, which is not older than `old`."""

    low: Facts
    old: Facts
    leniency: Leniency


class Floors:
    """How far each fact had come when it was last told of, now and at any time before.

    Of an untold fact a value may show what was true so long ago as its function declares, and as the build took that
    looked at it: its life is counted from its commit.
    """

    def __init__(self, stage: Stage, clock: Clock, said: Callable[[], int]) -> None:
        self.positions: list[tuple[Position, Since]] = []
        """What publishing gave in this life of the store, each with what was told from then on."""
        self._stage = stage
        self._clock = clock
        self._said = said
        self._numbers = {name: number for number, name in enumerate(stage.facts)}
        self._told: list[Since] = [Since(told=facts_of(stage.facts), at=clock(), said=0)]
        self._changed_at: dict[str, list[float]] = {name: [] for name in stage.world.untold}
        self._longest_build_s = 0.0
        declared = stage.world.declared.values()
        self._longest_stand_in_s = max((one.policy.bounds.stale_if_error_s for one in declared), default=0.0)

    @property
    def now(self) -> Since:
        """What whoever comes now must not miss."""
        newest = self._told[-1]
        return Since(told=newest.told, at=self._clock(), said=newest.said)

    def note_told(self, fact: str, count: int, position: Position) -> None:
        """The fact had come that far when an event told of it that is applied."""
        told, number = list(self._told[-1].told), self._numbers[fact]
        told[number] = max(told[number], count)
        self._told.append(Since(told=tuple(told), at=self._clock(), said=self._said()))
        self.positions.append((position, self._told[-1]))

    def note_changed(self, fact: str) -> None:
        """An untold fact changes."""
        self._changed_at[fact].append(self._clock())

    def note_built(self, build_s: float) -> None:
        """A value is stored whose build took so long."""
        self._longest_build_s = max(self._longest_build_s, build_s)

    def low(self, since: Since, *, older_s: float = 0.0) -> Facts:
        """How far each fact must have come in what is served to whoever came then, `older_s` being allowed."""
        at = since.at - older_s
        told = since.told if not older_s else next((one.told for one in reversed(self._told) if one.at <= at), None)
        # Older than the first word of anything: nothing is asked.
        low = list((0,) * len(self._numbers) if told is None else told)
        for fact, life_s in self._stage.world.untold.items():
            seen_until = at - life_s - self._longest_build_s
            low[self._numbers[fact]] = sum(changed_at <= seen_until for changed_at in self._changed_at[fact])
        return tuple(low)

    def demand(self, since: Since, bounds: Bounds = NOTHING_OLD, *, is_strict: bool = True) -> Demand:
        """What is asked of a value that is served to whoever came then.

        A failure is an excuse only if it came later than the newest word that they must not miss; or within what is
        allowed to be old, by themselves or by a function below.
        """
        reach_s = 0.0 if is_strict else max(_longest(bounds), self._longest_stand_in_s)
        failed_at = self._stage.failed_at
        has_failed = failed_at is not None and failed_at >= since.said
        has_failed_within = failed_at is not None and reach_s > 0 and self._stage.failed_time >= since.at - reach_s
        older_s = bounds.stale_while_revalidate_s
        if not has_failed and not has_failed_within:
            low = self.low(since, older_s=older_s)
            return Demand(low=low, old=low, leniency=Leniency.BUILT)
        return Demand(
            low=self.low(since, older_s=max(older_s, bounds.stale_if_error_s)),
            old=self.low(since, older_s=reach_s),
            leniency=Leniency.TROUBLED if is_strict else Leniency.STOOD_IN,
        )


def _longest(bounds: Bounds) -> float:
    return max(bounds.stale_while_revalidate_s, bounds.stale_if_error_s)


def between(low: Facts, facts: Mapping[str, int], below: frozenset[str]) -> str:
    """For people: from where to where each fact may stand in a value."""
    ranges = {fact: f"{told}..{now}" for (fact, now), told in zip(facts.items(), low, strict=True) if fact in below}
    return f"what it may say must be true for {ranges}"
