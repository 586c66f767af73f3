"""SQLite held to memory: the same requests in any order have the same answers and leave the same entries.

What one step does to several entries it may do in any order. So lists are compared without their order, and reasons
without the name of the one entry, of several, that they came through.
"""

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, rule

from everfresh.matching.triage import ShapeIndex
from everfresh.model.dependency import Call, Dependency, Id, Tag, Topic
from everfresh.model.entry import FeedRecord, Key, Lease, OnChange
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.publishing import invalidate, publish
from everfresh.protocol.requests import (
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    ReadFeed,
    Register,
    Request,
    Steps,
    TakeDue,
    ask,
)
from everfresh.stores.memory import MemoryStore
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import FUNCTION, NOT_THERE, ByHand, begin_of, commit_of, put_of, shapes_of
from everfresh.testing.clock import FakeClock

# Hypothesis shrinks what it finds, which takes its time.
pytestmark = pytest.mark.timeout(300)

KEYS = ("a", "b", "c", "d", "e")
Leases = tuple[Lease, Lease]
WayToCommit = tuple[OnChange, str, float | None]
A = TypeVar("A")
T = TypeVar("T")

keys = st.sampled_from(KEYS)
values = st.sampled_from([1, 2])
seen_values = st.dictionaries(keys, st.sampled_from([1, 2, NOT_THERE]), max_size=2)
lifetimes = st.none() | st.just(15.0)
fingerprints = st.sampled_from(["f1", "f1", "f2"])
functions = st.sampled_from([FUNCTION, "other"])
tags = st.sampled_from([Tag("x"), Tag("y")])
articles = st.builds(Id, st.just("article"), st.sampled_from([1, 2]), st.sampled_from([(), ("title",)]))
topics = st.sampled_from([Topic("bug.*", {"id": 1}), Topic("bug.new")])
names = st.lists(st.one_of(tags, articles, st.builds(Call, keys)), min_size=1, max_size=2)
dependencies = st.lists(st.one_of(tags, articles, topics), max_size=3)
images = st.none() | st.builds(dict, id=st.sampled_from([1, 2]), title=st.sampled_from(["t", "u"]))
bulk_updates = st.just(Event.change("article", changed=["title"])) | st.just(Event.unknown("article"))
rows = st.tuples(images, images).filter(any).map(lambda pair: Event.change("article", before=pair[0], after=pair[1]))
bugs = st.builds(Event, st.sampled_from(["bug.new", "bug.old"]), st.builds(dict, id=st.sampled_from([1, 2])))
events = st.one_of(rows, bulk_updates, bugs)
on_changes = st.sampled_from([OnChange.REFRESH, OnChange.REFRESH, OnChange.DROP])
ways_to_commit = st.tuples(on_changes, fingerprints, lifetimes)


class StoresAgree(RuleBasedStateMachine):
    """Both stores, one clock, and every lease that they ever gave."""

    leases: Bundle[Leases] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.folder = TemporaryDirectory()
        file = Path(self.folder.name) / "cache.db"
        self.stores = (MemoryStore(clock=self.clock), SqliteStore(file, clock=self.clock))
        self.indexes = (ShapeIndex(), ShapeIndex())
        self.epochs = [store.carry_out(ReadFeed(None)).position.epoch for store in self.stores]
        self.sequence = 0

    def teardown(self) -> None:
        """Let go of the file."""
        for store in self.stores:
            store.close()
        self.folder.cleanup()
        super().teardown()

    @rule(
        target=leases,
        key=keys,
        declared=dependencies,
        good_from=st.none() | st.integers(0, 60),
        fingerprint=fingerprints,
        function=functions,
    )
    def begin(
        self, key: str, declared: list[Dependency], good_from: int | None, fingerprint: str, function: str
    ) -> MultipleResults[Leases] | Leases:
        """Ask for a lease."""
        request = begin_of(key, *declared, good_from=good_from, fingerprint=fingerprint, function=function)
        ours, theirs = self.ask(lambda _: request)
        return (ours, theirs) if isinstance(ours, Lease) and isinstance(theirs, Lease) else multiple()

    @rule(target=leases, some=st.sets(functions))
    def take_due(self, some: set[str]) -> MultipleResults[Leases]:
        """Take all that is due; of what falls due in one moment, either may come first."""
        took = self.ask(lambda _: TakeDue(frozenset(some), 100, 10.0))
        found = [{due.lease.key: due.lease for due in answer.due} for answer in took]
        return multiple(*((lease, found[1][key]) for key, lease in found[0].items()))

    @rule(lease=leases, value=values, groups=dependencies, seen=seen_values, others=ways_to_commit)
    def commit(
        self, lease: Leases, value: object, groups: list[Dependency], seen: dict[str, object], others: WayToCommit
    ) -> None:
        """Commit under any lease that was ever given, lost or not."""
        on_change, fingerprint, lasts_s = others
        expires_at = None if lasts_s is None else self.clock() + lasts_s
        made = {"seen": seen, "on_change": on_change, "fingerprint": fingerprint, "expires_at": expires_at}
        self.ask(lambda i: commit_of(lease[i], value, *groups, **made))

    @rule(lease=leases, retry_in_s=st.none() | st.sampled_from([0.0, 5.0]), fingerprint=fingerprints)
    def fail(self, lease: Leases, retry_in_s: float | None, fingerprint: str) -> None:
        """A build raised."""
        self.ask(lambda i: Fail(lease=lease[i], fingerprint=fingerprint, reason="it broke", retry_in_s=retry_in_s))

    @rule(lease=leases)
    def give_up(self, lease: Leases) -> None:
        """A build was cancelled."""
        self.ask(lambda i: GiveUp(lease[i]))

    @rule(some=st.lists(leases, max_size=3))
    def extend(self, some: list[Leases]) -> None:
        """Leases are renewed."""
        self.ask(lambda i: Extend(tuple(lease[i] for lease in some), 10.0))

    @rule(some=st.lists(events, min_size=1, max_size=2), is_dry=st.booleans())
    def publish(self, some: list[Event], is_dry: bool) -> None:
        """Events come."""
        self.run(lambda i: publish(some, self.indexes[i], is_dry=is_dry))

    @rule(some=names)
    def invalidate(self, some: list[Dependency]) -> None:
        """Somebody touches by name."""
        self.run(lambda i: invalidate(some, self.indexes[i]))

    @rule(some=dependencies)
    def register(self, some: list[Dependency]) -> None:
        """Shapes become known."""
        self.ask(lambda _: Register(shapes_of(*some)))

    @rule(key=keys, value=values, some=names | st.just([]), back=st.none() | st.integers(0, 10), expires_s=lifetimes)
    def put(self, key: str, value: object, some: list[Dependency], back: int | None, expires_s: float | None) -> None:
        """A value is put, with a fence some steps back."""
        fence = None if back is None else max(0, self.sequence - back)
        self.ask(lambda _: put_of(key, value, *some, fence=fence, expires_s=expires_s))

    @rule(some=st.lists(keys, max_size=3))
    def delete(self, some: list[str]) -> None:
        """Entries are deleted."""
        self.ask(lambda _: Delete(tuple(map(Key, some))))

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0, -3.0]))
    def advance(self, seconds: float) -> None:
        """Time passes, or the clock is set back."""
        self.clock.advance(seconds)

    @invariant()
    def entries_agree(self) -> None:
        """Whatever is stored is stored in both."""
        for key in KEYS:
            for fingerprint in (None, "f2"):
                ours, theirs = (plain(store.carry_out(Load(Key(key), fingerprint))) for store in self.stores)
                assert ours == theirs

    def ask(self, make: Callable[[int], Request[A]]) -> tuple[A, A]:
        """Ask both; their answers, and what they wrote to the feed, must be alike."""
        return self.run(lambda i: ask(make(i)))

    def run(self, make: Callable[[int], Steps[T]]) -> tuple[T, T]:
        """Run the rules on both."""
        # Each step has its own time, so that nothing falls due with something else by chance.
        self.clock.advance(0.001)
        answers = ByHand(self.stores[0]).run(make(0)), ByHand(self.stores[1]).run(make(1))
        assert plain(answers[0]) == plain(answers[1])
        batches = [
            store.carry_out(ReadFeed(Position(epoch, self.sequence)))
            for store, epoch in zip(self.stores, self.epochs, strict=True)
        ]
        assert plain(batches[0]) == plain(batches[1])
        self.sequence = batches[0].position.sequence
        return answers


def plain(answer: object) -> object:
    """The answer without what differs between two stores by right: epochs, tokens, order within a step."""
    match answer:
        case Position():
            return answer.sequence
        case FeedRecord():
            return (answer.key, answer.kind, answer.version, answer.digest)
        case tuple():
            return sorted(map(plain, answer), key=repr)
        case msgspec.Struct():
            found = msgspec.structs.asdict(answer)
        case _ if is_dataclass(answer):
            found = {field.name: getattr(answer, field.name) for field in fields(answer)}
        case _:
            return answer
    return {name: _plain_field(name, value) for name, value in found.items() if name != "token"}


def _plain_field(name: str, value: object) -> object:
    return re.sub(r"\b[a-e]\b", "?", str(value)) if name == "reason" else plain(value)


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
