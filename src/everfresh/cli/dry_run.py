"""Dry run: which entries recorded messages would rebuild, how many messages each, and why; nothing is published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from everfresh.cache import Cache
from everfresh.cache.foretelling import Foreteller, Foretold
from everfresh.cache.printing import printable_key
from everfresh.cli.replay import Reporter, Tally
from everfresh.cli.touching import reasons_of
from everfresh.cli.words import count, shown
from everfresh.model.entry import Key
from everfresh.protocol.foreseeing import Fate
from everfresh.sources.files import Line


@dataclass(slots=True)
class Reached:
    """An entry that messages reach: what becomes of it by the strongest of them, and how many give each reason."""

    key: Key
    function: str
    fate: Fate
    n_messages: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])

    def take(self, one: Foretold) -> None:
        """Count a message."""
        self.n_messages += 1
        self.reasons.update(reasons_of(one))
        if self.fate is Fate.SUSPECT:
            self.fate = one.fate


@dataclass(slots=True)
class DryRun:
    """What messages would do; as text, a page for people."""

    tally: Tally = field(default_factory=Tally)
    entries: dict[Key, Reached] = field(default_factory=dict[Key, Reached])

    def take(self, found: Iterable[Foretold]) -> None:
        """Count a message."""
        self.tally.n_messages += 1
        for one in found:
            reached = self.entries.get(one.key)
            if reached is None:
                reached = self.entries[one.key] = Reached(one.key, one.function, one.fate)
            reached.take(one)
            if one.fate is not Fate.SUSPECT:
                self.tally.touched.add(one.key)

    def in_order(self) -> list[Reached]:
        """Those that are touched first, those that most messages reach first among them."""
        return sorted(self.entries.values(), key=lambda one: (one.fate is Fate.SUSPECT, -one.n_messages, one.key))

    def json(self) -> bytes:
        """The same for programs."""
        entries = [
            {
                "key": one.key,
                "function": one.function,
                "fate": one.fate.value,
                "n_messages": one.n_messages,
                "why": dict(one.reasons.most_common()),
            }
            for one in self.in_order()
        ]
        return msgspec.json.encode(
            {"n_messages": self.tally.n_messages, "n_bad_lines": self.tally.n_bad_lines, "entries": entries}
        )

    def __str__(self) -> str:
        return "\n".join([*self._lines(), self._sum()])

    def _lines(self) -> Iterator[str]:
        for one in self.in_order():
            yield f"{one.fate.value:<8} {printable_key(one.key)}  {count(one.n_messages, 'message')}"
            reasons = [f"{reason} ({n})" for reason, n in one.reasons.most_common()]
            yield from (f"           {reason}" for reason in shown(reasons))

    def _sum(self) -> str:
        tally = self.tally
        n_suspect = len(self.entries) - len(tally.touched)
        suspect = f", and make {n_suspect:,} suspect" if n_suspect else ""
        touched = count(len(tally.touched), "entry", "entries")
        bad = count(tally.n_bad_lines, "bad line")
        return f"{count(tally.n_messages, 'message')} would touch {touched}{suspect}; {bad}."


def dry_run(cache: Cache, lines: Iterable[Line], reporter: Reporter) -> DryRun:
    """Say which entries the messages would touch, publish nothing, and close the cache."""
    found = DryRun()
    with cache:
        foreteller = Foreteller(cache)
        for _, event in found.tally.messages(lines, reporter):
            found.take(foreteller.foretell(event))
    return found
