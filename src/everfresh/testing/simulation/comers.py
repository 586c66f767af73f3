"""Comers: whoever comes onto the stage: readers of every kind, workers, and who wants what is put by hand."""

from __future__ import annotations

from math import inf

from everfresh.cache.reads import read_after
from everfresh.model.entry import Entry
from everfresh.protocol.requests import Bounds
from everfresh.testing.simulation.actors import Actors, Picks

_BOUNDS = tuple(
    Bounds(stale_while_revalidate_s=while_refreshed_s, stale_if_error_s=if_error_s)
    for while_refreshed_s, if_error_s in ((inf, inf), (5.0, 0.0), (0.0, 5.0), (15.0, 15.0), (0.0, 0.0))
)
_N_AT_ONCE = 3


class Comers(Actors):
    """The moves that bring somebody; each is a method."""

    def read(self, picks: Picks) -> None:
        """A strict reader comes."""
        name, since = picks.of(self._names), self.floors.now
        number, process = self._somewhere(picks)
        self._enter(f"reader of {name}", number, process.read(name), lambda entry: self._check_read(name, entry, since))

    def read_after(self, picks: Picks) -> None:
        """A reader comes who knows a position."""
        if not self.floors.positions:
            return
        name, (position, since) = picks.of(self._names), picks.of(self.floors.positions[-7:])
        number, process = self._somewhere(picks)
        self._enter(
            f"reader of {name} after {position.text}",
            number,
            process.walk(read_after(process.call(name), position)),
            lambda entry: self._check_read(name, entry, since),
        ).told_at = since.said

    def read_within(self, picks: Picks) -> None:
        """A reader comes who takes something older."""
        name, bounds = picks.of(self._names), picks.of(_BOUNDS)
        self._read_within(name, bounds, picks)

    def read_plainly(self, picks: Picks) -> None:
        """A reader comes who takes what the function allows, which allows something older."""
        if self._patient:
            name = picks.of(self._patient)
            self._read_within(name, self.stage.world.declared[name].policy.bounds, picks)

    def read_many(self, picks: Picks) -> None:
        """A strict reader comes of several functions that need no other."""
        if not self._leaves:
            return
        names = list(dict.fromkeys(picks.of(self._leaves) for _ in range(_N_AT_ONCE)))
        since = self.floors.now
        number, process = self._somewhere(picks)

        def check(entries: list[Entry]) -> None:
            for name, entry in zip(names, entries, strict=True):
                self._check_read(name, entry, since)

        self._enter(f"reader of {', '.join(names)}", number, process.read_many(names), check)

    def rebuild(self, picks: Picks) -> None:
        """Somebody wants a value that is built now."""
        name, since = picks.of(self._names), self.floors.now
        number, process = self._somewhere(picks)

        def check(entry: Entry) -> None:
            self._check_read(name, entry, since, is_strict=False)

        rebuilder = self._enter(f"rebuilder of {name}", number, process.rebuild(name), check)
        rebuilder.rebuilds = name

    def refresh(self, picks: Picks) -> None:
        """A worker looks at the queue."""
        number, process = self._somewhere(picks)
        self._enter("worker", number, process.refresh(), nothing)

    def fetch(self, picks: Picks) -> None:
        """Somebody wants what is put by hand."""
        if not self._by_hand:
            return
        declared, since = picks.of(self._by_hand), self.floors.now
        number, process = self._somewhere(picks)

        def check(value: bytes) -> None:
            self.promises.check_value(declared.name, value, since, what=f"who wanted {declared.name}")

        self._enter(f"who wants {declared.name}", number, process.walk(self.stage.fetch(declared)), check)

    def warm(self, _: Picks) -> None:
        """Everything was read."""
        for name in self._names:
            self._enter(f"reader of {name}", 0, self._processes[0].read(name), nothing)
            self._run(self._actors[-1], ())

    def _read_within(self, name: str, bounds: Bounds, picks: Picks) -> None:
        since = self.floors.now
        number, process = self._somewhere(picks)

        def check(entry: Entry) -> None:
            self._check_read(name, entry, since, bounds, is_strict=False)

        self._enter(f"lenient reader of {name} {bounds}", number, process.read(name, bounds), check)


def nothing(_: object) -> None:
    """Nothing is promised of it."""
