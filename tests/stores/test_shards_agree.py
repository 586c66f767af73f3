"""Sixteen shards held to memory: whatever is asked of both, all entries are in the same state in the end.

What one store does in one step, shards do in several. So answers are compared without positions and versions, which
each shard counts for itself; and nothing is asked that lets go of entries by time, which each shard does by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import cycle
from typing import ClassVar, TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, rule

from everfresh.matching.shapes import Group
from everfresh.model.conditions import ge, lt
from everfresh.model.dependency import Call, Dependency, Id, Scope, Tag, Topic
from everfresh.model.entry import PLAIN_TERMS, FeedRecord, Key, Lease, OnChange, Terms
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Count, Explain, ListEntries
from everfresh.protocol.publishing import invalidate, publish, suspect, take_in
from everfresh.protocol.queueing import Distrust, Enqueue, Note, Retry, TakeDue, TookDue
from everfresh.protocol.requests import (
    UNLIMITED,
    Begin,
    Commit,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    LoadMany,
    Put,
    Register,
    Request,
    Steps,
    ask,
)
from everfresh.protocol.sourcing import (
    Forget,
    Offset,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Report,
    Tell,
    Unreadable,
)
from everfresh.stores.memory import MemoryStore
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import shard_of
from everfresh.stores.store import Store
from everfresh.testing.by_hand import FUNCTION, ByHand, begin_of, commit_of, encoded, put_of, recipe_of, shapes_of
from everfresh.testing.clock import FakeClock
from tests.redis_servers import Cluster, RedisServer, new_prefix
from tests.searching import n_searched
from tests.stores.test_stores_agree import (
    KEYS,
    Leases,
    causes,
    dependencies,
    events,
    fingerprints,
    functions,
    keys,
    kinds,
    names,
    offsets,
    patterns,
    reports,
    seen_values,
    unreadables,
    values,
    watched,
)

pytestmark = [pytest.mark.searching, pytest.mark.timeout(600)]

N_SHARDS = 16
A = TypeVar("A")
T = TypeVar("T")
Positions = tuple[Position, Position]

terms_ = st.sampled_from(
    [
        PLAIN_TERMS,
        PLAIN_TERMS,
        Terms(on_change=OnChange.DROP),
        Terms(debounce_s=2.0, max_wait_s=5.0),
        Terms(settle_s=(2.0, 8.0), keeps_event=True),
        Terms(priority=1),
    ]
)
retries = st.sampled_from([None, None, None, 5.0])
_OF_ONE_SHARD = {"position", "changed_at", "begun", "applied", "token", "version", "outer"}
_TITLE = ("title",)
_ALL = (
    Id("article", 1),
    Id("article", 1, _TITLE),
    Topic("bug.*", {"id": 1}),
    Topic("bug.new"),
    Topic("bug.#", {"id": lt(2)}),
    Scope("article", {"title": "t"}),
    Scope("article", {"id": lt(2)}),
    Scope("article", {"id": ge(2)}, _TITLE),
)
_urls: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def urls(shared_redis: RedisServer, shared_cluster: Cluster) -> None:
    """A server and a Cluster for all examples."""
    _urls.update(server=shared_redis.url, cluster=shared_cluster.url)


class ShardsAgree(RuleBasedStateMachine):
    """Both stores, one clock, and every lease and position that they ever gave."""

    place: ClassVar[str] = "server"
    leases: Bundle[Leases] = Bundle("leases")
    positions: Bundle[Positions] = Bundle("positions")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.explained = cycle(KEYS)
        shards = ShardedStore(f"{_urls[self.place]}?prefix={new_prefix()}", N_SHARDS, clock=self.clock)
        self.stores: tuple[Store, ...] = (MemoryStore(clock=self.clock), shards)
        self.hands = tuple(map(ByHand, self.stores))
        # Each shard learns a shape when an entry of its own needs it, and refuses puts with a fence from before that.
        for store in self.stores:
            store.carry_out(Register(shapes_of(*_ALL)))

    def teardown(self) -> None:
        """Let go of both."""
        for store in self.stores:
            store.close()
        super().teardown()

    @rule(target=positions)
    def look_where(self) -> Positions:
        """Somebody notes where the stores are."""
        found = self.hands[0].position(), self.hands[1].position()
        # Where nothing has happened on its shard since, a value counts as no newer than the position; in one store
        # anything that happened anywhere makes it newer. So something happens everywhere.
        self.run(lambda i: invalidate([Tag("nobody's")], self.hands[i].shapes))
        return found

    @rule(
        target=leases,
        key=keys,
        declared=dependencies,
        is_eager=st.booleans(),
        fingerprint=fingerprints,
        function=functions,
        terms=terms_,
        groups=watched,
    )
    def begin(  # noqa: PLR0917 - all that may be said of a build
        self,
        key: str,
        declared: list[Dependency],
        is_eager: bool,
        fingerprint: str,
        function: str,
        terms: Terms,
        groups: tuple[Group, ...],
    ) -> MultipleResults[Leases] | Leases:
        """Ask for a lease; if need be, for a value as of now."""

        def request(i: int) -> Begin:
            good_from = None if is_eager else self.stores[i].carry_out(Load(Key(key))).position.sequence
            made = begin_of(
                key, *declared, good_from=good_from, fingerprint=fingerprint, function=function, terms=terms
            )
            return replace(made, shapes=(*made.shapes, *(group.shape for group in groups)), watched=groups)

        ours, theirs = self.ask(request)
        return (ours, theirs) if isinstance(ours, Lease) and isinstance(theirs, Lease) else multiple()

    @rule(target=leases, some=st.sets(functions))
    def take_due(self, some: set[str]) -> MultipleResults[Leases]:
        """Take all that is due."""
        took = self.both(lambda i: ask(TakeDue(dict.fromkeys(some, UNLIMITED), 100, 10.0)))
        found = [_leases_of(answer) for answer in took]
        assert found[0].keys() == found[1].keys()
        return multiple(*((lease, found[1][key]) for key, lease in found[0].items()))

    @rule(
        lease=leases,
        value=values,
        groups=dependencies,
        seen=seen_values,
        terms=terms_,
        fingerprint=fingerprints,
        retry_in_s=retries,
        kind=kinds,
    )
    def commit(  # noqa: PLR0917 - all that may be said of a value
        self,
        lease: Leases,
        value: object,
        groups: list[Dependency],
        seen: dict[str, object],
        terms: Terms,
        fingerprint: str,
        retry_in_s: float | None,
        kind: dict[str, bool],
    ) -> None:
        """Commit under any lease that was ever given, lost or not."""

        def request(i: int) -> Commit:
            made = commit_of(lease[i], value, *groups, seen=seen, terms=terms, fingerprint=fingerprint)
            return replace(made, built=replace(made.built, **kind), retry_in_s=retry_in_s, builder="somebody")

        self.ask(request)

    @rule(key=keys, value=values, inner=st.sampled_from(KEYS), terms=terms_)
    def build_above(self, key: str, value: object, inner: str, terms: Terms) -> None:
        """Somebody builds an entry from another as that is."""
        entry = self.stores[0].carry_out(Load(Key(inner))).entry
        if inner == key or entry is None:
            return
        took = self.ask(lambda _: begin_of(key, terms=terms))
        if isinstance(took[0], Lease) and isinstance(took[1], Lease):
            leases = (took[0], took[1])
            seen = {inner: msgspec.msgpack.decode(entry.value)}
            self.ask(lambda i: commit_of(leases[i], value, seen=seen, terms=terms))

    @rule(lease=leases, retry_in_s=st.none() | st.sampled_from([0.0, 5.0]), fingerprint=fingerprints)
    def fail(self, lease: Leases, retry_in_s: float | None, fingerprint: str) -> None:
        """A build raised."""
        reason = "it broke"
        self.ask(lambda i: Fail(lease=lease[i], fingerprint=fingerprint, reason=reason, retry_in_s=retry_in_s))

    @rule(lease=leases)
    def give_up(self, lease: Leases) -> None:
        """A build was cancelled."""
        self.ask(lambda i: GiveUp(lease[i]))

    @rule(some=st.lists(leases, max_size=3))
    def extend(self, some: list[Leases]) -> None:
        """Leases are renewed."""
        self.ask(lambda i: Extend(tuple(lease[i] for lease in some), 10.0))

    @rule(some=st.lists(events, min_size=1, max_size=2), spared=st.sets(keys), cause=causes, is_dry=st.booleans())
    def publish(self, some: list[Event], spared: set[str], cause: tuple[str, ...], is_dry: bool) -> None:
        """Events come, and predicates spare some entries."""
        for hand in self.hands:
            hand.spares = frozenset(spared)
        self.run(lambda i: publish(some, self.hands[i].shapes, cause=cause, encode=encoded, is_dry=is_dry))

    @rule(some=st.lists(events, max_size=2), far=st.lists(offsets, min_size=1, max_size=2))
    def take_in(self, some: list[Event], far: list[Offset]) -> None:
        """Events come from sources, which say how far that is."""
        self.run(lambda i: take_in(some, self.hands[i].shapes, offsets=tuple(far), encode=encoded))

    @rule(some=patterns, per_s=st.sampled_from([0.2, 10.0]))
    def suspect(self, some: list[str], per_s: float) -> None:
        """Events may have been lost."""
        self.run(lambda i: suspect(some, "they may be lost", self.hands[i].shapes, per_s=per_s))

    @rule(report=reports, some=st.lists(unreadables, max_size=3), n_max=st.integers(0, 4))
    def tell(self, report: Report, some: list[Unreadable], n_max: int) -> None:
        """A consumer tells how it fares, and keeps messages that are no events."""
        self.ask(lambda _: Tell(report))
        self.ask(lambda _: Quarantine(tuple(some), n_max))

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

    @rule(key=keys)
    def note(self, key: str) -> None:
        """Somebody reads."""
        now = self.clock()
        self.ask(lambda _: Note({Key(key): now}, {}))

    @rule(is_so=st.sampled_from([False, False, False, True]))
    def distrust(self, is_so: bool) -> None:
        """The store begins a new life, now and then."""
        if is_so:
            self.ask(lambda _: Distrust("it was put back", 0.5))

    @rule(key=keys, value=values, some=names | st.just([]), position=positions, is_fenced=st.booleans())
    def put(self, key: str, value: object, some: list[Dependency], position: Positions, is_fenced: bool) -> None:
        """A value is put, with a fence maybe."""
        others = [one for one in some if one != Call(key)]

        def request(i: int) -> Put:
            return put_of(key, value, *others, fence=position[i] if is_fenced else None)

        self.ask(request)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        """An entry is deleted."""
        self.ask(lambda _: Delete((Key(key),)))

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @invariant()
    def entries_agree(self) -> None:
        """Whatever is stored is stored in both."""
        for key in KEYS:
            self.compare(Load(Key(key)))
        # It asks every shard; what differs in it stays so.
        self.compare(Explain(Key(next(self.explained))))
        self.compare(LoadMany(tuple(map(Key, KEYS))))
        self.compare(ListEntries())
        self.compare(Count())

    @invariant()
    def sources_agree(self) -> None:
        """What sources left is the same in both, in the same order."""
        sources = [store.carry_out(ReadSources()) for store in self.stores]
        kept = [store.carry_out(ReadQuarantine()) for store in self.stores]
        assert (sources[0], kept[0]) == (sources[1], kept[1])

    def compare(self, request: Request[A]) -> None:
        """Both answer alike, and nothing changes."""
        ours, theirs = (plain(store.carry_out(request)) for store in self.stores)
        assert ours == theirs

    def ask(self, make: Callable[[int], Request[A]]) -> tuple[A, A]:
        """Ask both; their answers must be alike."""
        return self.run(lambda i: ask(make(i)))

    def run(self, make: Callable[[int], Steps[T]]) -> tuple[T, T]:
        """Run the rules on both; their answers must be alike."""
        answers = self.both(make)
        assert plain(answers[0]) == plain(answers[1])
        return answers

    def both(self, make: Callable[[int], Steps[T]]) -> tuple[T, T]:
        """Run the rules on both."""
        # Each step has its own time, so that nothing falls due with something else by chance.
        self.clock.advance(0.001)
        return self.hands[0].run(make(0)), self.hands[1].run(make(1))


class ShardsOfAClusterAgree(ShardsAgree):
    """The same where shards are on several nodes."""

    place = "cluster"


def _leases_of(took: TookDue) -> dict[Key, Lease]:
    return {due.lease.key: due.lease for due in took.due}


def plain(answer: object) -> object:
    """The answer without what differs between one store and shards by right."""
    match answer:
        case Position():
            return None
        case FeedRecord():
            return (answer.key, answer.kind, answer.digest)
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
    return {
        name: (value is not None and bool(value)) if name == "version" else plain(value)
        for name, value in found.items()
        if name not in _OF_ONE_SHARD - {"version"} and name != "reason"
    }


def test_the_keys_stand_on_several_shards() -> None:
    """Else the comparison would compare one store with another."""
    assert len({shard_of(key, N_SHARDS) for key in KEYS}) > 2
    assert FUNCTION


TestShardsAgree = ShardsAgree.TestCase
TestShardsOfAClusterAgree = ShardsOfAClusterAgree.TestCase
TestShardsOfAClusterAgree.settings = settings(max_examples=n_searched(5), stateful_step_count=40, deadline=None)
TestShardsAgree.settings = settings(max_examples=n_searched(15), stateful_step_count=40, deadline=None)
