"""Foreseeing: which entries an event would rebuild, drop or make suspect, and which dependency of each it meets.

Asked in several steps, so entries that are built meanwhile may be told of with dependencies of before or after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

import msgspec

from everfresh.matching.index import Shapes
from everfresh.matching.meeting import Dependencies, Met
from everfresh.matching.triage import Touched, touched_by_events
from everfresh.model.entry import Key, OnChange
from everfresh.model.event import Event
from everfresh.protocol.applying import Candidates, Judge
from everfresh.protocol.inspecting import Explain, Explained
from everfresh.protocol.publishing import publish
from everfresh.protocol.requests import Steps, ask


class Fate(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """What becomes of an entry: it is built again, or taken out, or has to wait for what it was built from."""

    REFRESH = "refresh"
    DROP = "drop"
    SUSPECT = "suspect"


class Foreseen(msgspec.Struct, frozen=True):
    """What would become of an entry, and why: the dependencies that the event meets, or the entries below it.

    `known` is None for an entry that went while the store was asked.
    """

    key: Key
    fate: Fate
    known: Explained | None
    met: tuple[Met, ...] = ()
    inner: tuple[Key, ...] = ()


class _Entry(msgspec.Struct, frozen=True):
    """An entry as it was looked at once."""

    known: Explained | None
    dependencies: Dependencies

    @property
    def is_dropped(self) -> bool:
        """Whether a touch takes it out."""
        return self.known is None or not self.known.listed.function or self.known.terms.on_change is OnChange.DROP

    @property
    def outer(self) -> Sequence[Key]:
        """Those that were built from it."""
        return () if self.known is None else self.known.outer

    @property
    def outer_of_value(self) -> Sequence[Key]:
        """Those that wait for it when it is unsettled; whoever found no value here hears of the first one."""
        return () if self.known is None or not self.known.listed.version else self.known.outer


class Looked:
    """The entries that were looked at, kept so that each costs one step over many events."""

    def __init__(self) -> None:
        self.entries: dict[Key, _Entry] = {}

    def at(self, key: Key) -> Steps[_Entry]:
        """The entry."""
        found = self.entries.get(key)
        if found is None:
            known = yield from ask(Explain(key))
            found = self.entries[key] = _Entry(known, Dependencies(() if known is None else known.groups))
        return found


def foresee(event: Event, shapes: Shapes, looked: Looked) -> Steps[list[Foreseen]]:
    """What would become of the entries that the event reaches, those that it touches itself first, each by key."""
    published = yield from publish([event], shapes, is_dry=True)
    touched = touched_by_events([event], shapes.index)
    met_of: dict[Key, tuple[Met, ...]] = {}
    for key in sorted(published.applied.touched):
        met_of[key] = (yield from looked.at(key)).dependencies.met_by(touched)
    spared = yield from _spared(event, touched, met_of)
    if spared:
        met_of = {key: tuple(met for met in found if (key, met) not in spared) for key, found in met_of.items()}
    return (yield from _outward(met_of, looked))


def _spared(event: Event, touched: Touched, met_of: dict[Key, tuple[Met, ...]]) -> Steps[set[tuple[Key, Met]]]:
    """The predicates that said no of an entry which another dependency touches."""
    # One that is all that the event meets said yes.
    doubtful = {
        (key, met.bucket): met for key, found in met_of.items() if len(found) > 1 for met in found if met.is_predicate
    }
    if not doubtful:
        return set()
    candidates = yield from ask(Candidates(tuple({bucket for _, bucket in doubtful})))
    asked = tuple(one for one in candidates if (one.key, one.bucket) in doubtful)
    spared = yield from ask(Judge(asked, (event,), touched.predicates))
    return {
        (key, doubtful[key, bucket]) for bucket, keys in spared.items() for key in keys if (key, bucket) in doubtful
    }


def _outward(met_of: dict[Key, tuple[Met, ...]], looked: Looked) -> Steps[list[Foreseen]]:
    """The same with the entries that were built, directly or not, from these."""
    inner_of: dict[Key, list[Key]] = {}
    fates = yield from _touched_with_dropped(met_of, inner_of, looked)
    unsettled = [key for key, fate in fates.items() if fate is Fate.REFRESH]
    # It grows while it is gone through.
    for key in unsettled:
        for outer in (yield from looked.at(key)).outer_of_value:
            if outer not in fates:
                fates[outer] = Fate.SUSPECT
                unsettled.append(outer)
            if fates[outer] is Fate.SUSPECT:
                inner_of.setdefault(outer, []).append(key)
    found: list[Foreseen] = []
    for key in sorted(fates, key=lambda one: (one not in met_of, fates[one] is Fate.SUSPECT, one)):
        # Each of them was looked at on the way.
        known = looked.entries[key].known
        found.append(Foreseen(key, fates[key], known, met_of.get(key, ()), tuple(inner_of.get(key, ()))))
    return found


def _touched_with_dropped(
    touched: Iterable[Key], inner_of: dict[Key, list[Key]], looked: Looked
) -> Steps[dict[Key, Fate]]:
    """What becomes of what is touched: whoever was built from what is dropped is touched in turn."""
    # A dict keeps the order; the list beside it may grow while it is gone through.
    fates: dict[Key, Fate] = dict.fromkeys(touched, Fate.REFRESH)
    waiting = list(fates)
    for key in waiting:
        entry = yield from looked.at(key)
        if not entry.is_dropped:
            continue
        fates[key] = Fate.DROP
        for outer in entry.outer:
            inner_of.setdefault(outer, []).append(key)
            if outer not in fates:
                fates[outer] = Fate.REFRESH
                waiting.append(outer)
    return fates
