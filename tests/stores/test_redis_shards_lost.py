"""What becomes of what crosses shards when a process dies in between, a shard loses its memory, or news come late."""

from collections.abc import Sequence

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import FeedRecord, Key, Lease, OnChange, State
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.inspecting import Explain
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Load, ReadFeed
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import Done, Part, Parts, shard_of
from everfresh.stores.redis.sharding_steps import Asked, Attach, Carry, Delivered
from everfresh.testing.by_hand import NOT_THERE, ByHand, commit_of
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, new_prefix

N_SHARDS = 16
A = Tag("a")


class Dies(ShardedStore):
    """Stops before the first step of that kind, as a process does that is killed."""

    before: type[object] = Carry

    def _run(self, steps: Parts[object]) -> object:
        return super()._run(self._mortal(steps))

    def _mortal(self, steps: Parts[object]) -> Parts[object]:
        dones: list[Done] | None = None
        try:
            while True:
                parts: list[Part] = list(steps.send(dones) if dones is not None else next(steps))
                if any(self._kills(part) for part in parts):
                    msg = "killed"
                    raise StoreUnavailable(msg)
                dones = list((yield parts))
        except StopIteration as stop:
            return stop.value

    def _kills(self, part: Part) -> bool:
        if self.before is Asked:
            return isinstance(part.request, Asked) and part.request.n_asked > 0
        return isinstance(part.request, self.before)


class Repeats(ShardedStore):
    """Carries everything twice, and all of it once more when it is told to."""

    def __init__(self, url: str, n_shards: int) -> None:
        self.sent: list[Part] = []
        super().__init__(url, n_shards)

    def _run(self, steps: Parts[object]) -> object:
        return super()._run(self._twice(steps))

    def _twice(self, steps: Parts[object]) -> Parts[object]:
        parts = list(next(steps))
        while True:
            carries = [part for part in parts if isinstance(part.request, Carry)]
            self.sent += carries
            dones = yield parts
            if carries:
                yield carries
            try:
                parts = list(steps.send(dones))
            except StopIteration as stop:
                return stop.value

    def repeat(self) -> None:
        """Have all that was ever carried come once more, late."""
        for part in self.sent:
            self.shards[part.shard].do(part.request)


@pytest.fixture
def url(shared_redis: RedisServer) -> str:
    return f"{shared_redis.url}?prefix={new_prefix()}"


def _sweep(hand: ByHand) -> None:
    """As often as it takes a worker to come by all shards; of a function that has no entries."""
    for _ in range(N_SHARDS):
        hand.take(1, function="nobody's")


def _built(hand: ByHand) -> None:
    hand.build("in", 1, A)
    hand.build("out", 1, seen={"in": 1})
    hand.build("page", 1, seen={"out": 1})


def test_they_stand_apart() -> None:
    """Else nothing would cross shards here."""
    assert len({shard_of(key, N_SHARDS) for key in ("in", "out", "page")}) == 3


def test_an_event_whose_publisher_died_is_carried_by_others(url: str) -> None:
    """Its source was not told that it was taken; but if it were lost, what was marked is carried all the same."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    hand = ByHand(other)
    _built(hand)

    with pytest.raises(StoreUnavailable):
        ByHand(dying).touch(A)
    _sweep(hand)

    assert [hand.state(key) for key in ("in", "out", "page")] == [State.DIRTY, State.SUSPECT, State.SUSPECT]
    hand.commit(hand.take()[0].lease, 1, A)
    assert [hand.state(key) for key in ("in", "out", "page")] == [State.FRESH] * 3
    dying.close()
    other.close()


def test_suspect_stays_suspect_until_somebody_asks(url: str) -> None:
    """Who built what is below died before it told; a reader of the outer entry has it settled."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    hand = ByHand(other)
    _built(hand)
    hand.touch(A)

    with pytest.raises(StoreUnavailable):
        ByHand(dying).commit(ByHand(dying).take()[0].lease, 1, A)

    shard = other.shards[shard_of("out", N_SHARDS)]
    stored = shard.carry_out(Load(Key("out"))).entry
    assert stored is not None
    assert stored.state is State.SUSPECT
    assert hand.state("out") is State.FRESH
    assert hand.state("page") is State.FRESH
    dying.close()
    other.close()


def test_a_change_whose_builder_died_is_carried_by_others(url: str) -> None:
    """What was built from the old value is built again."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    hand = ByHand(other)
    _built(hand)
    hand.touch(A)

    with pytest.raises(StoreUnavailable):
        ByHand(dying).commit(ByHand(dying).take()[0].lease, 2, A)
    _sweep(hand)

    assert (hand.state("in"), hand.state("out"), hand.state("page")) == (State.FRESH, State.DIRTY, State.SUSPECT)
    dying.close()
    other.close()


@pytest.mark.parametrize("before", [Attach, Asked, Carry])
def test_a_first_build_that_died_leaves_nothing_wrong(url: str, before: type[object]) -> None:
    """Wherever it stopped: it was not stored, and whoever builds it next has it fresh."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    dying.before = before
    hand = ByHand(other)
    hand.build("in", 1, A)
    lease = hand.lease("out")

    with pytest.raises(StoreUnavailable):
        dying.carry_out(commit_of(lease, 1, seen={"in": 1}))
    hand.touch(A)
    hand.commit(hand.take()[0].lease, 1, A)

    assert hand.commit(lease, 1, seen={"in": 1}).entry.state is State.FRESH
    hand.touch(A)
    assert hand.state("out") is State.SUSPECT
    dying.close()
    other.close()


def test_what_changes_between_asking_and_storing_is_seen(url: str) -> None:
    """The inner entry has another value by the time that the outer one is stored."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    dying.before = Asked
    hand = ByHand(other)
    hand.build("in", 1, A)
    lease = hand.lease("out")
    with pytest.raises(StoreUnavailable):
        dying.carry_out(commit_of(lease, 1, seen={"in": 1}))

    hand.build("in", 2, A)

    assert hand.commit(lease, 1, seen={"in": 1}).entry.state is State.DIRTY
    dying.close()
    other.close()


def test_what_was_carried_and_not_crossed_off_does_no_harm(url: str) -> None:
    """It is carried again by the next worker, and nothing is touched twice."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    dying.before = Delivered
    hand = ByHand(other)
    _built(hand)
    with pytest.raises(StoreUnavailable):
        ByHand(dying).touch(A)
    hand.commit(hand.take()[0].lease, 1, A)
    position = hand.position()

    _sweep(hand)

    assert [hand.state(key) for key in ("in", "out", "page")] == [State.FRESH] * 3
    assert hand.feed(position) == []
    dying.close()
    other.close()


def test_news_may_come_twice_and_late(url: str) -> None:
    """What is not newer than what is known is passed over."""
    store = Repeats(url, N_SHARDS)
    hand = ByHand(store)
    _built(hand)
    hand.touch(A)
    hand.commit(hand.take()[0].lease, 1, A)
    hand.touch(A)
    hand.commit(hand.take()[0].lease, 2, A)
    for due in hand.take():
        hand.commit(due.lease, 2, seen={"in": 2})
    for due in hand.take():
        hand.commit(due.lease, 2, seen={"out": 2})
    states = [hand.state(key) for key in ("in", "out", "page")]
    position = hand.position()

    store.repeat()

    assert states == [State.FRESH] * 3
    assert [hand.state(key) for key in ("in", "out", "page")] == states
    assert hand.feed(position) == []
    store.close()


def test_a_shard_that_lost_its_memory_is_noticed(url: str, shared_redis: RedisServer) -> None:
    """What was built from what stood there is built again, once anybody publishes anything."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    _built(hand)
    _forget(shared_redis, url, "in")

    hand.touch(Tag("another"))

    assert (hand.state("out"), hand.state("page")) == (State.DIRTY, State.SUSPECT)
    store.close()


def test_a_process_that_begins_later_notices_as_well(url: str, shared_redis: RedisServer) -> None:
    """The others had heard of another life of the shard."""
    store = ShardedStore(url, N_SHARDS)
    _built(ByHand(store))
    store.close()
    _forget(shared_redis, url, "in")

    again = ShardedStore(url, N_SHARDS)

    assert ByHand(again).state("out") is State.DIRTY
    again.close()


def test_the_shard_of_the_outer_entry_may_lose_its_memory(url: str, shared_redis: RedisServer) -> None:
    """The inner entry goes on telling it, which does no harm; what is built there anew is told as well."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    _built(hand)
    _forget(shared_redis, url, "out")
    hand.touch(A)
    hand.commit(hand.take()[0].lease, 1, A)

    hand.build("out", 1, seen={"in": 1})
    hand.touch(A)

    assert hand.state("out") is State.SUSPECT
    store.close()


def test_nobody_is_told_once_nothing_is_built_from_it(url: str, shared_redis: RedisServer) -> None:
    """Neither mirrors nor who has them are kept for nothing."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    hand.build("in", 1, A)
    hand.build("out", 1, seen={"in": 1})

    hand.build("out", 2)
    hand.touch(A)
    hand.touch(A)

    hand.build("in", 2, A)
    with shared_redis.client() as client:
        left = [key for kind in ("h", "z", "u") for key in client.scan_iter(f"{_prefix(url)}:{{s*}}:{kind}*")]
    assert left == []
    store.close()


def test_what_the_last_change_drops_is_told_no_more(url: str) -> None:
    """The value changed and is outdated again, and who was built from it is dropped by that, not refreshed."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    hand.build("in", 1, A)
    hand.build("out", 1, seen={"in": 1}, on_change=OnChange.DROP)
    lease = hand.lease("in")
    hand.touch(A)

    hand.commit(lease, 2, A)

    assert store.carry_out(Load(Key("out"))).entry is None
    assert hand.state("in") is State.DIRTY
    store.close()


def test_what_is_not_there_is_not_told_as_unsettled(url: str) -> None:
    """In a new life nothing is known of the other shards, until somebody asks."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    hand.build("out", 1, seen={"in": NOT_THERE})
    store.carry_out(Distrust("it was put back"))

    explained = store.carry_out(Explain(Key("out")))

    assert explained is not None
    assert explained.unsettled == ()
    store.close()


def test_reading_the_feed_changes_nothing(url: str) -> None:
    """Whoever is told of a step reads the feed, and would be told of what that did, in the middle of it."""
    store, other = ShardedStore(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    _built(ByHand(store))
    position = ByHand(store).position()
    depths: list[int] = []
    n_reading = 0

    def read(_: Sequence[FeedRecord]) -> None:
        nonlocal n_reading
        depths.append(n_reading)
        n_reading += 1
        assert n_reading > 1 or store.carry_out(ReadFeed(position)).is_reset
        n_reading -= 1

    store.listen(read)
    other.carry_out(Distrust("it was put back"))

    ByHand(store).touch(A)

    assert set(depths) == {0}
    store.close()
    other.close()


@pytest.mark.uncounted
def test_whichever_key_is_deleted_by_hand_costs_rebuilds_at_most(shared_redis: RedisServer) -> None:
    """A change of the inner entry outdates the outer ones all the same, whatever was lost of either shard."""
    url, store, hand = _made(shared_redis)
    with shared_redis.client() as client:
        names = sorted({_part(url, name) for name in client.scan_iter(f"{_prefix(url)}:*")})
        store.close()
        assert {b"N", b"l", b"z", b"h:in"} <= {name.partition(b":")[2] for name in names}
        for name in names:
            url, store, hand = _made(shared_redis)
            client.delete(f"{_prefix(url)}:".encode() + name)

            hand.touch(A)
            hand.build("in", 2, A)

            for key in ("out", "page"):
                entry = store.carry_out(Load(Key(key))).entry
                assert entry is None or entry.state is not State.FRESH, (name, key)
            store.close()


def test_news_that_are_deleted_before_they_were_carried_cost_rebuilds(url: str, shared_redis: RedisServer) -> None:
    """Who was to carry them died, and then somebody deleted them: the next worker that comes by notices."""
    dying, other = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    hand = ByHand(other)
    _built(hand)
    with pytest.raises(StoreUnavailable):
        ByHand(dying).touch(A)
    with shared_redis.client() as client:
        assert client.delete(f"{_prefix(url)}:{{s{shard_of('in', N_SHARDS)}}}:u")

    _sweep(hand)

    assert (hand.state("out"), hand.state("page")) == (State.DIRTY, State.SUSPECT)
    dying.close()
    other.close()


def test_a_number_of_shards_that_is_deleted_is_known_all_the_same(url: str, shared_redis: RedisServer) -> None:
    """Another number is refused as before, and the store can be opened with its own."""
    store = ShardedStore(url, N_SHARDS)
    ByHand(store).build("k", 1)
    store.close()
    with shared_redis.client() as client:
        assert client.delete(f"{_prefix(url)}:{{s0}}:N")

    with pytest.raises(StoreUnavailable, match="16 shards"):
        ShardedStore(url, 4)

    again = ShardedStore(url, N_SHARDS)
    assert ByHand(again).state("k") is State.FRESH
    again.close()


def test_another_number_of_shards_is_refused(url: str) -> None:
    """Nothing would be where it is looked for; the message says what to do."""
    store = ShardedStore(url, N_SHARDS)
    ByHand(store).build("k", 1)
    store.close()

    for make in (lambda: RedisStore(url), lambda: ShardedStore(url, 4)):
        with pytest.raises(StoreUnavailable, match=r"16 shards.*everfresh admin reshard"):
            make()


def test_a_store_of_one_shard_is_not_opened_as_several(url: str) -> None:
    """It was there first."""
    store = RedisStore(url)
    ByHand(store).build("k", 1)
    store.close()

    with pytest.raises(StoreUnavailable, match=r"1 shards"):
        ShardedStore(url, N_SHARDS)


def test_outer_entries_are_found_on_all_shards(url: str) -> None:
    """To explain an entry is to name those that were built from it."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    hand.build("in", 1, A)
    for key in ("out", "page", "other"):
        hand.build(key, 1, seen={"in": 1})

    explained = store.carry_out(Explain(Key("in")))

    assert explained is not None
    assert sorted(explained.outer) == ["other", "out", "page"]
    store.close()


def test_two_lease_tokens_are_never_alike(url: str) -> None:
    """A lease names its entry, and its token names it."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    leases: list[Lease] = [hand.lease(f"k{number}") for number in range(50)]
    assert len({lease.token for lease in leases}) == len(leases)
    store.close()


def _made(server: RedisServer) -> tuple[str, ShardedStore, ByHand]:
    url = f"{server.url}?prefix={new_prefix()}"
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    _built(hand)
    return url, store, hand


def _part(url: str, name: bytes) -> bytes:
    return name.removeprefix(f"{_prefix(url)}:".encode())


def _prefix(url: str) -> str:
    return url.partition("prefix=")[2]


def _forget(server: RedisServer, url: str, key: str) -> None:
    with server.client() as client:
        for name in list(client.scan_iter(f"{_prefix(url)}:{{s{shard_of(key, N_SHARDS)}}}:*")):
            client.delete(name)


@pytest.mark.parametrize("kind", ["put", "drop", "chain"])
def test_a_publish_waits_for_what_another_has_not_carried(url: str, kind: str) -> None:
    """That one died, or is about to; what the event touches is touched already, so nobody is told of it again."""
    dying, store = Dies(url, N_SHARDS), ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    if kind == "put":
        hand.put("in", 1, A)
        # The first, with a fence, may meet a shape that its shard has just learnt.
        hand.put("in", 1, A)
    else:
        hand.build("in", 1, A, on_change=OnChange.DROP if kind == "drop" else OnChange.REFRESH)
    hand.build("out", 1, seen={"in": 1})
    hand.build("page", 1, seen={"out": 1})
    before = [hand.state("out"), hand.state("page")]
    with pytest.raises(StoreUnavailable):
        ByHand(dying).touch(A)

    hand.touch(A)

    assert before == [State.FRESH] * 2
    assert State.FRESH not in {hand.state("out"), hand.state("page")}
    dying.close()
    store.close()


def test_a_queue_that_a_shard_lost_is_noticed(url: str, shared_redis: RedisServer) -> None:
    """Though workers ask it for ranks alone, and would not take anything there."""
    store = ShardedStore(url, N_SHARDS)
    hand = ByHand(store)
    hand.build("in", 1, A)
    hand.touch(A)
    with shared_redis.client() as client:
        prefix = url.split("prefix=")[1]
        assert client.delete(*client.keys(f"{prefix}:*:y:*")) > 0

    until(lambda: [due.lease.key for due in hand.take()] == ["in"], what="the entry taken")
    store.close()
