"""What stands on which shard, and how a request to all of them is put together from steps of each.

Rules are generators: each yields what is to be done side by side, and is given what came of it, in that order. They
hold nothing but how far other shards were told; who carries them out, in whichever colour, is the store.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, NamedTuple, TypeVar

from everfresh.model.entry import Key
from everfresh.model.position import Position
from everfresh.protocol.requests import ReadFeed, Request
from everfresh.stores.redis.pacing import Placed, Places
from everfresh.stores.redis.sharding_steps import Attach, Carried, Carry, Delivered, Expect, Hear, Pending, SetPaces
from everfresh.stores.redis.wire_replies import Message, Pace
from everfresh.stores.tables import Room

T = TypeVar("T")

# A script with more would hold up everybody else.
_N_CARRIED = 100
_N_DIGITS = 8
# What was there at first is carried in one or two; while others go on publishing there is always something.
_N_ROUNDS = 16


class Part(NamedTuple):
    """A request to one shard."""

    shard: int
    request: Request[Any]


class Done(NamedTuple):
    """What came of a part: its answer, what its shard has to tell others, and the epoch in which the shard is."""

    answer: Any
    posted: Sequence[Message]
    paces: Sequence[Pace]
    epoch: str


Parts = Generator[Sequence[Part], Sequence[Done], T]
"""Steps over shards."""


@dataclass(slots=True)
class Spread:
    """What was touched and shaken on other shards."""

    touched: dict[Key, None] = field(default_factory=dict)
    suspect: dict[Key, None] = field(default_factory=dict)
    places: dict[int, tuple[str, int]] = field(default_factory=dict)
    """The epochs and the sequences of these shards after it."""
    per_s: float | None = None
    """How fast it falls due on each of them; None for at once."""
    given: dict[int, Places] = field(default_factory=dict)
    """The places that were given there."""

    def place(self, shard: int, placed: Placed | None) -> None:
        """These places were given there too."""
        self.given.setdefault(shard, Places()).add(placed)

    def placed(self) -> dict[int, Placed]:
        """The places that were given on each shard."""
        found = {shard: places.placed() for shard, places in self.given.items()}
        return {shard: placed for shard, placed in found.items() if placed is not None}


def shard_of(key: str, n_shards: int) -> int:
    """Which shard has the key; the same in Lua."""
    return int(sha1(key.encode(), usedforsecurity=False).hexdigest()[:_N_DIGITS], 16) % n_shards


def share_of(room: Room, n_shards: int, shard: int) -> Room:
    """What one of the shards may hold, so that all of them together hold no more than that; one entry at least."""

    def share(n_max: int | None) -> int | None:
        return None if n_max is None else max(1, n_max // n_shards + (shard < n_max % n_shards))

    return Room(share(room.max_entries), share(room.max_bytes))


class Sharding:
    """How many shards there are, and in which epochs they are as all of them have heard."""

    def __init__(self, n_shards: int) -> None:
        self.n_shards = n_shards
        self.epochs: list[str] = [""] * n_shards

    def shard_of(self, key: str) -> int:
        """Which shard has the key."""
        return shard_of(key, self.n_shards)

    def by_shard(self, keys: Iterable[Key]) -> dict[int, list[Key]]:
        """The keys by where they stand."""
        found: dict[int, list[Key]] = {}
        for key in keys:
            found.setdefault(self.shard_of(key), []).append(key)
        return found

    def everywhere(self, request: Request[Any]) -> list[Part]:
        """The request to each shard."""
        return [Part(shard, request) for shard in range(self.n_shards)]

    def ask(self, parts: Sequence[Part]) -> Parts[Sequence[Done]]:
        """Have it done side by side. If a shard has lost its memory, the others hear of it before anything goes on."""
        dones = yield parts
        lost = {
            part.shard: done.epoch
            for part, done in zip(parts, dones, strict=True)
            if done.epoch and done.epoch != self.epochs[part.shard]
        }
        if lost:
            yield from self.hear(lost)
        return dones

    def hear(self, epochs: dict[int, str]) -> Parts[None]:
        """Have all shards take note of the epochs."""
        told = tuple(sorted(epochs.items()))
        waiting = {shard: Hear(told) for shard in range(self.n_shards)}
        posted: list[Message] = []
        while waiting:
            dones = yield [Part(shard, hear) for shard, hear in waiting.items()]
            for (shard, _), done in zip(list(waiting.items()), dones, strict=True):
                posted += done.posted
                is_end, last_id = done.answer
                if is_end:
                    del waiting[shard]
                else:
                    waiting[shard] = Hear(told, last_id)
        for shard, epoch in told:
            self.epochs[shard] = epoch
        yield from self.carry(posted, Spread())
        # Whoever tells it may have stood still meanwhile, and have told of a life that is over.
        dones = yield [Part(shard, ReadFeed(None)) for shard, _ in told]
        found = {shard: done.answer.position.epoch for (shard, _), done in zip(told, dones, strict=True)}
        moved = {shard: epoch for shard, epoch in found.items() if epoch != epochs[shard]}
        if moved:
            yield from self.hear(moved)

    def done(self, parts: Sequence[Part], spread: Spread | None = None) -> Parts[list[Any]]:
        """Have it done side by side, and all that it has to tell carried; the answers."""
        dones = yield from self.ask(parts)
        yield from self.carry([message for done in dones for message in done.posted], spread or Spread())
        yield from self.pass_on_paces([pace for done in dones for pace in done.paces])
        return [done.answer for done in dones]

    def pass_on_paces(self, paces: Sequence[Pace]) -> Parts[None]:
        """Have all shards know how refreshes fail."""
        if paces:
            yield self.everywhere(SetPaces(tuple(paces)))

    def one(self, shard: int, request: Request[Any]) -> Parts[Any]:
        """The same for one part."""
        (answer,) = yield from self.done([Part(shard, request)])
        return answer

    def carry(self, messages: Sequence[Message], spread: Spread) -> Parts[None]:
        """Bring the messages where they are to go, and what comes of them, until nothing does."""
        while messages:
            by_target: dict[int, list[Message]] = {}
            for message in messages:
                by_target.setdefault(message.target, []).append(message)
            parts = [
                Part(target, Carry(tuple(some[start : start + _N_CARRIED]), spread.per_s))
                for target, some in by_target.items()
                for start in range(0, len(some), _N_CARRIED)
            ]
            dones = yield from self.ask(parts)
            for part, done in zip(parts, dones, strict=True):
                carried: Carried = done.answer
                spread.places[part.shard] = carried.place
                spread.touched.update(dict.fromkeys(carried.touched))
                spread.suspect.update(dict.fromkeys(carried.suspect))
                spread.place(part.shard, carried.placed)
            if delivered := self._delivered(parts, dones):
                yield delivered
            messages = [message for done in dones for message in done.posted]

    def settle(self, shards: Iterable[int], spread: Spread) -> Parts[None]:
        """Carry what others have posted there and not carried yet; of what they changed nobody else is told.

        They may have died, or may be about to carry it. What that leads to is carried too, wherever it stands.
        """
        asked: Iterable[int] = shards
        for _ in range(_N_ROUNDS):
            dones = yield from self.ask([Part(shard, Pending()) for shard in asked])
            left = [message for done in dones for message in done.answer]
            if not left:
                return
            yield from self.carry(left, Spread(places=spread.places))
            asked = range(self.n_shards)

    def _delivered(self, parts: Sequence[Part], dones: Sequence[Done]) -> list[Part]:
        carried: dict[int, list[tuple[int, Key, int]]] = {}
        detached: dict[int, list[tuple[Key, int, str, int]]] = {}
        for part, done in zip(parts, dones, strict=True):
            request: Any = part.request
            for message in request.messages:
                if not message.is_answer:
                    item = (message.target, message.key, message.sequence)
                    carried.setdefault(message.source, []).append(item)
            for key, source, epoch, place in done.answer.detached:
                detached.setdefault(source, []).append((key, part.shard, epoch, place))
        return [
            Part(source, Delivered(tuple(carried.get(source, ())), tuple(detached.get(source, ()))))
            for source in sorted({*carried, *detached})
        ]

    def learn(self, shard: int, keys: Sequence[Key]) -> Parts[None]:
        """Have the shard know what these entries elsewhere are, and be told of them from now on."""
        (expected,) = yield from self.ask([Part(shard, Expect(tuple(keys)))])
        epoch, places = expected.answer
        yield from self.attach(shard, keys, epoch, places)

    def attach(self, shard: int, keys: Sequence[Key], epoch: str, places: Sequence[int]) -> Parts[None]:
        """The same for places that the shard has made."""
        place_of = dict(zip(keys, places, strict=True))
        parts = [
            Part(source, Attach(shard, tuple(some), epoch, tuple(place_of[key] for key in some)))
            for source, some in self.by_shard(place_of).items()
        ]
        dones = yield from self.ask(parts)
        answers: list[Message] = []
        for done in dones:
            answers += done.answer
        yield from self.carry([*answers, *(message for done in dones for message in done.posted)], Spread())

    def position(self, positions: Sequence[Position]) -> Position:
        """One position from those of all shards, in their order."""
        return Position.of([(position.epoch, position.sequence) for position in positions])

    def place_in(self, position: Position, shard: int) -> Position:
        """What the position says of the shard, first; what it says of the others follows."""
        parts = list(position.parts())
        own = next((part for part in parts if part[0] == self.epochs[shard]), None)
        if own is None:
            # Nobody knows what has happened there since: it is a position of another life.
            return Position("", 0, tuple(parts))
        parts.remove(own)
        return Position(own[0], own[1], tuple(parts))
