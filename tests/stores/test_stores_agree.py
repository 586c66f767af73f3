"""SQLite and Redis held to memory: the same requests in any order have the same answers and leave the same entries.

What one step does to several entries it may do in any order. So lists are compared without their order, and reasons
without the name of the one entry, of several, that they came through.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from everfresh.matching.shapes import Group, predicate_shape
from everfresh.model.conditions import ge, lt
from everfresh.model.dependency import Call, Dependency, Id, Scope, Tag, Topic
from everfresh.model.entry import PLAIN_TERMS, FeedRecord, Key, Lease, OnChange, State, Terms
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.model.position import Position
from everfresh.protocol.applying import Candidates
from everfresh.protocol.inspecting import Count, Explain, ListEntries
from everfresh.protocol.publishing import invalidate, publish, suspect, take_in
from everfresh.protocol.queueing import Distrust, Enqueue, Note, Retry, TakeDue
from everfresh.protocol.requests import (
    UNLIMITED,
    Commit,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Limit,
    Load,
    LoadMany,
    Put,
    ReadFeed,
    Register,
    Request,
    Steps,
    ask,
)
from everfresh.protocol.scheduling import HEAD_START_S
from everfresh.protocol.sourcing import (
    Forget,
    Offset,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Release,
    Report,
    Tell,
    Unreadable,
)
from everfresh.stores.memory import MemoryStore
from everfresh.stores.redis import RedisStore
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.store import Store
from everfresh.stores.tables import Room
from everfresh.testing.by_hand import (
    FUNCTION,
    NOT_THERE,
    ByHand,
    begin_of,
    commit_of,
    encoded,
    put_of,
    recipe_of,
    shapes_of,
)
from everfresh.testing.clock import FakeClock
from tests.redis_servers import RedisServer, new_prefix
from tests.searching import n_searched

# Hypothesis shrinks what it finds, which takes its time.
pytestmark = [pytest.mark.searching, pytest.mark.timeout(300)]

KEYS = ("a", "b", "c", "d", "e")
Leases = tuple[Lease, Lease]
WayToCommit = tuple[Terms, str, float | None, float | None]
A = TypeVar("A")
T = TypeVar("T")
OpenOther = Callable[[FakeClock, Room], Store]
"""Opens a new store of the kind that is held to memory."""

keys = st.sampled_from(KEYS)
values = st.sampled_from([1, 2])
seen_values = st.dictionaries(keys, st.sampled_from([1, 2, NOT_THERE]), max_size=2)
lifetimes = st.none() | st.just(15.0)
fingerprints = st.sampled_from(["f1", "f1", "f2"])
functions = st.sampled_from([FUNCTION, "other"])
tags = st.sampled_from([Tag("x"), Tag("y")])
articles = st.builds(Id, st.just("article"), st.sampled_from([1, 2]), st.sampled_from([(), ("title",)]))
topics = st.sampled_from([Topic("bug.*", {"id": 1}), Topic("bug.new"), Topic("bug.#", {"id": lt(2)})])
lists = st.sampled_from(
    [Scope("article", {"title": "t"}), Scope("article", {"id": lt(2)}), Scope("article", {"id": ge(2)}, ("title",))]
)
names = st.lists(st.one_of(tags, articles, lists, st.builds(Call, keys)), min_size=1, max_size=2)
dependencies = st.lists(st.one_of(tags, articles, topics, lists), max_size=3)
MESSAGE = Message(topic="bug.new", body=b"{", headers={"a": "b"}, id="m")
PREDICATE = (Group(predicate_shape("bug.#", FUNCTION), ((),)),)
watched = st.sampled_from([(), (), PREDICATE])
images = st.none() | st.builds(dict, id=st.sampled_from([1, 2]), title=st.sampled_from(["t", "u"]))
bulk_updates = st.just(Event.change("article", changed=["title"])) | st.just(Event.unknown("article"))
rows = st.tuples(images, images).filter(any).map(lambda pair: Event.change("article", before=pair[0], after=pair[1]))
bugs = st.builds(Event, st.sampled_from(["bug.new", "bug.old"]), st.builds(dict, id=st.sampled_from([1, 2])))
events = st.one_of(rows, bulk_updates, bugs)
causes = st.sampled_from([(), (), ("f(1)",)])
terms_ = st.sampled_from(
    [
        PLAIN_TERMS,
        PLAIN_TERMS,
        Terms(on_change=OnChange.DROP),
        Terms(on_change=OnChange.DROP, expires_s=3.0, linger_s=2.0),
        Terms(expires_s=5.0),
        Terms(debounce_s=2.0, max_wait_s=5.0),
        Terms(settle_s=(2.0, 8.0), keeps_event=True),
        Terms(priority=1, job_expires_s=5.0),
        Terms(keep_warm_s=8.0),
    ]
)
room = st.sampled_from([10_000, 600, 300])
offsets = st.builds(Offset, st.sampled_from(["bus", "rows"]), st.sampled_from(["1", "2"]))
patterns = st.lists(st.sampled_from(["bug.new", "bug.*", "article.update", "#", "none"]), max_size=2)
reports = st.builds(
    lambda source, consumer, lag: Report(source=source, consumer=consumer, is_connected=True, topics=("#",), lag=lag),
    st.sampled_from(["bus", "rows"]),
    st.sampled_from(["one", "two"]),
    st.none() | st.integers(0, 2),
)
message_ids = st.sampled_from(["1", "2", "3", "4"])
unreadables = st.builds(
    lambda id_, source: Unreadable(id=id_, source=source, format="f", reason="no JSON", message=MESSAGE),
    message_ids,
    st.sampled_from(["bus", "files"]),
)
limits = st.sampled_from([Limit(n_at_once=1), Limit(per_s=1.0), Limit(n_at_once=2, per_s=0.2)])
rooms = st.sampled_from([Room(), Room(), Room(max_entries=3), Room(max_bytes=3)])
ways_to_commit = st.tuples(terms_, fingerprints, lifetimes, st.sampled_from([None, None, None, 5.0]))
kinds = st.sampled_from([{}, {}, {}, {"is_error": True}, {"is_private": True}, {"is_awaited": False}])


class StoresAgree(RuleBasedStateMachine):
    """Both stores, one clock, and every lease that they ever gave."""

    leases: Bundle[Leases] = Bundle("leases")

    def __init__(self, open_other: OpenOther) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.open_other = open_other
        self.stores: tuple[Store, ...] = ()
        self.hands: tuple[ByHand, ...] = ()
        self.epochs: list[str] = []
        self.sequence = 0

    @initialize(room=rooms)
    def open(self, room: Room) -> None:
        """Make both, with as much room."""
        self.stores = MemoryStore(clock=self.clock, room=room), self.open_other(self.clock, room)
        self.hands = tuple(map(ByHand, self.stores))
        self.epochs = [store.carry_out(ReadFeed(None)).position.epoch for store in self.stores]

    def teardown(self) -> None:
        """Let go of both."""
        for store in self.stores:
            store.close()
        super().teardown()

    @rule(
        target=leases,
        key=keys,
        declared=dependencies,
        good_from=st.none() | st.integers(0, 60),
        fingerprint=fingerprints,
        function=functions,
        terms=terms_,
        groups=watched,
    )
    def begin(  # noqa: PLR0917 - all that may be said of a build
        self,
        key: str,
        declared: list[Dependency],
        good_from: int | None,
        fingerprint: str,
        function: str,
        terms: Terms,
        groups: tuple[Group, ...],
    ) -> MultipleResults[Leases] | Leases:
        """Ask for a lease."""
        request = begin_of(key, *declared, good_from=good_from, fingerprint=fingerprint, function=function, terms=terms)
        request = replace(request, shapes=(*request.shapes, *(group.shape for group in groups)), watched=groups)
        ours, theirs = self.ask(lambda _: request)
        return (ours, theirs) if isinstance(ours, Lease) and isinstance(theirs, Lease) else multiple()

    @rule(target=leases, some=st.sets(functions))
    def take_due(self, some: set[str]) -> MultipleResults[Leases]:
        """Take all that is due; of what falls due in one moment, either may come first."""
        took = self.ask(lambda _: TakeDue(dict.fromkeys(some, UNLIMITED), 100, 10.0))
        found = [{due.lease.key: due.lease for due in answer.due} for answer in took]
        return multiple(*((lease, found[1][key]) for key, lease in found[0].items()))

    @rule(target=leases, function=functions, limit=limits)
    def take_within_limits(self, function: str, limit: Limit) -> MultipleResults[Leases]:
        """Take what a limit allows, when it is clear which goes first."""
        now = self.clock()
        listed = self.stores[0].carry_out(ListEntries(function=function))
        places = [round(entry.due % HEAD_START_S, 4) for entry in listed if entry.due is not None and entry.due <= now]
        if len(set(places)) < len(places):
            return multiple()
        took = self.ask(lambda _: TakeDue({function: limit}, 100, 10.0))
        found = [{due.lease.key: due.lease for due in answer.due} for answer in took]
        return multiple(*((lease, found[1][key]) for key, lease in found[0].items()))

    @rule(
        lease=leases,
        value=values,
        groups=dependencies,
        seen=seen_values,
        others=ways_to_commit,
        kind=kinds,
        predicates=watched,
    )
    def commit(  # noqa: PLR0917 - all that may be said of a value
        self,
        lease: Leases,
        value: object,
        groups: list[Dependency],
        seen: dict[str, object],
        others: WayToCommit,
        kind: dict[str, bool],
        predicates: tuple[Group, ...],
    ) -> None:
        """Commit under any lease that was ever given, lost or not."""
        terms, fingerprint, lasts_s, retry_in_s = others
        expires_at = None if lasts_s is None else self.clock() + lasts_s

        def request(i: int) -> Commit:
            made = commit_of(
                lease[i], value, *groups, seen=seen, terms=terms, fingerprint=fingerprint, expires_at=expires_at
            )
            built = replace(made.built, groups=(*made.built.groups, *predicates), **kind)
            return replace(made, built=built, retry_in_s=retry_in_s, builder="somebody")

        self.ask(request)

    @rule(lease=leases, retry_in_s=st.none() | st.sampled_from([0.0, 5.0]), fingerprint=fingerprints)
    def fail(self, lease: Leases, retry_in_s: float | None, fingerprint: str) -> None:
        """A build raised."""
        reason = "it broke"
        self.ask(lambda i: Fail(lease=lease[i], fingerprint=fingerprint, reason=reason, retry_in_s=retry_in_s))

    @rule(function=functions)
    def break_down(self, function: str) -> None:
        """The upstream of a function goes down for all of its entries."""
        for number in range(5):
            key = KEYS[number]
            answers = self.ask(lambda _, key=key: begin_of(key, function=function))
            if isinstance(answers[0], Lease) and isinstance(answers[1], Lease):
                leases = (answers[0], answers[1])
                self.ask(
                    lambda i, leases=leases: Fail(lease=leases[i], fingerprint=None, reason="down", retry_in_s=1.0)
                )

    @rule(lease=leases)
    def give_up(self, lease: Leases) -> None:
        """A build was cancelled."""
        self.ask(lambda i: GiveUp(lease[i]))

    @rule(some=st.lists(leases, max_size=3))
    def extend(self, some: list[Leases]) -> None:
        """Leases are renewed."""
        self.ask(lambda i: Extend(tuple(lease[i] for lease in some), 10.0))

    @rule(some=st.lists(events, min_size=1, max_size=2), is_dry=st.booleans(), spared=st.sets(keys), cause=causes)
    def publish(self, some: list[Event], is_dry: bool, spared: set[str], cause: tuple[str, ...]) -> None:
        """Events come, and predicates spare some entries."""
        for hand in self.hands:
            hand.spares = frozenset(spared)
        self.run(lambda i: publish(some, self.hands[i].shapes, is_dry=is_dry, cause=cause, encode=encoded))

    @rule(some=st.lists(events, max_size=2), come=st.lists(offsets, min_size=1, max_size=2))
    def take_in(self, some: list[Event], come: list[Offset]) -> None:
        """Sources bring events, or none, and have come so far with them."""
        self.run(lambda i: take_in(some, self.hands[i].shapes, offsets=tuple(come), encode=encoded))

    @rule(some=patterns, per_s=st.sampled_from([0.3, 5.0]))
    def suspect(self, some: list[str], per_s: float) -> None:
        """Events may have been lost."""
        self.run(lambda i: suspect(some, "they may be lost", self.hands[i].shapes, per_s=per_s))

    @rule(report=reports)
    def tell(self, report: Report) -> None:
        """A consumer tells how it fares."""
        self.ask(lambda _: Tell(report))

    @rule(some=st.lists(unreadables, max_size=3), n_max=st.integers(0, 4), max_bytes=room)
    def quarantine(self, some: list[Unreadable], n_max: int, max_bytes: int) -> None:
        """Messages come that are no events."""
        self.ask(lambda _: Quarantine(tuple(some), n_max, max_bytes))

    @rule(some=st.lists(message_ids, max_size=3))
    def release(self, some: list[str]) -> None:
        """A person drops some of them."""
        self.ask(lambda _: Release(tuple(some)))

    @rule(some=st.lists(st.sampled_from(["bus", "rows", "files"]), max_size=2))
    def forget(self, some: list[str]) -> None:
        """A source is not used any more."""
        self.ask(lambda _: Forget(tuple(some)))

    @rule(some=names, cause=causes)
    def invalidate(self, some: list[Dependency], cause: tuple[str, ...]) -> None:
        """Somebody touches by name."""
        self.run(lambda i: invalidate(some, self.hands[i].shapes, cause=cause))

    @rule(key=keys, function=functions, terms=terms_)
    def enqueue(self, key: str, function: str, terms: Terms) -> None:
        """Somebody wants an entry to be warm."""
        self.ask(lambda _: Enqueue({Key(key): recipe_of(key, function)}, terms))

    @rule(some=st.lists(keys, max_size=3))
    def retry(self, some: list[str]) -> None:
        """A person retries."""
        self.ask(lambda _: Retry(tuple(map(Key, some))))

    @rule(key=keys, ago_s=st.sampled_from([0.0, 1.0]), watched_s=st.sampled_from([0.0, 5.0]))
    def note(self, key: str, ago_s: float, watched_s: float) -> None:
        """Somebody reads, or watches."""
        now = self.clock()
        self.ask(lambda _: Note({Key(key): now - ago_s}, {Key(key): now + watched_s} if watched_s else {}))

    @rule(is_so=st.sampled_from([False, False, False, True]))
    def distrust(self, is_so: bool) -> None:
        """The store begins a new life, now and then."""
        if is_so:
            self.ask(lambda _: Distrust("it was put back", 0.5))

    @rule(some=dependencies)
    def register(self, some: list[Dependency]) -> None:
        """Shapes become known."""
        self.ask(lambda _: Register(shapes_of(*some)))

    @rule(key=keys, value=values, some=names | st.just([]), back=st.none() | st.integers(0, 10), expires_s=lifetimes)
    def put(self, key: str, value: object, some: list[Dependency], back: int | None, expires_s: float | None) -> None:
        """A value is put, with a fence some steps back."""

        def request(i: int) -> Put:
            fence = None if back is None else Position(self.hands[i].position().epoch, max(0, self.sequence - back))
            return put_of(key, value, *some, fence=fence, expires_s=expires_s)

        self.ask(request)

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
                self.compare(Load(Key(key), fingerprint))
            self.compare(Explain(Key(key)))

    @invariant()
    def sources_agree(self) -> None:
        """What sources left is the same in both, in the same order."""
        for request in (ReadSources(), ReadSources(("bus", "nobody"))):
            ours, theirs = (store.carry_out(request) for store in self.stores)
            assert ours == theirs
        for look in (
            ReadQuarantine(),
            ReadQuarantine(source="bus", n_max=1),
            ReadQuarantine(("1", "3")),
            ReadQuarantine(after=2),
        ):
            kept = [store.carry_out(look) for store in self.stores]
            assert kept[0] == kept[1]

    @rule(some=st.lists(keys, max_size=3), fingerprint=st.none() | fingerprints)
    def load_many(self, some: list[str], fingerprint: str | None) -> None:
        """Several are read at once."""
        self.compare(LoadMany(tuple(map(Key, some)), fingerprint))

    @rule(function=st.none() | functions, state=st.none() | st.sampled_from(State), after=keys, n_max=st.integers(1, 5))
    def look(self, function: str | None, state: State | None, after: str, n_max: int) -> None:
        """People look at lists, and the rules at candidates."""
        self.compare(ListEntries(function, state, Key(after), n_max))
        self.compare(Count(function))
        self.compare(Candidates(tuple(PREDICATE[0].buckets())))

    def compare(self, request: Request[A]) -> None:
        """Both answer alike, and nothing changes."""
        ours, theirs = (plain(store.carry_out(request)) for store in self.stores)
        assert ours == theirs

    def ask(self, make: Callable[[int], Request[A]]) -> tuple[A, A]:
        """Ask both; their answers, and what they wrote to the feed, must be alike."""
        return self.run(lambda i: ask(make(i)))

    def run(self, make: Callable[[int], Steps[T]]) -> tuple[T, T]:
        """Run the rules on both."""
        # Each step has its own time, so that nothing falls due with something else by chance.
        self.clock.advance(0.001)
        answers = self.hands[0].run(make(0)), self.hands[1].run(make(1))
        assert plain(answers[0]) == plain(answers[1])
        batches = [
            store.carry_out(ReadFeed(Position(epoch, self.sequence)))
            for store, epoch in zip(self.stores, self.epochs, strict=True)
        ]
        assert plain(batches[0]) == plain(batches[1])
        self.sequence = batches[0].position.sequence
        self.epochs = [batch.position.epoch for batch in batches]
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
        case Mapping():
            return {name: plain(value) for name, value in answer.items() if value}
        case _ if is_dataclass(answer):
            found = {field.name: getattr(answer, field.name) for field in fields(answer)}
        case _:
            return answer
    return {name: _plain_field(name, value) for name, value in found.items() if name != "token"}


def _plain_field(name: str, value: object) -> object:
    return re.sub(r"\b[a-e]\b", "?", str(value)) if name == "reason" else plain(value)


def test_sqlite_and_memory_agree() -> None:
    """Whatever is asked, in any order."""
    with TemporaryDirectory() as folder:
        numbers = count()
        agree(lambda clock, room: SqliteStore(Path(folder) / f"{next(numbers)}.db", clock=clock, room=room))


def test_redis_and_memory_agree(shared_redis: RedisServer) -> None:
    """The same for Lua."""
    agree(lambda clock, room: RedisStore(f"{shared_redis.url}?prefix={new_prefix()}", clock=clock, room=room))


def agree(open_other: OpenOther) -> None:
    """Hold the other store to memory."""

    class Both(StoresAgree):
        def __init__(self) -> None:
            super().__init__(open_other)

    run_state_machine_as_test(
        Both, settings=settings(max_examples=n_searched(30), stateful_step_count=40, deadline=None)
    )
