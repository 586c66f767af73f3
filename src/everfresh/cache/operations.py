"""What a cache does beside functions, as rules: publish, invalidate, and values that are put by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, assert_never, cast

from everfresh.cache import misses
from everfresh.cache.engine import Engine
from everfresh.cache.events import encode_event
from everfresh.cache.keys import known_key, known_keys, new_key
from everfresh.cache.misses import Asked, Miss, Slip
from everfresh.cache.near import Slot
from everfresh.cache.tracking import open_frame, undescribed
from everfresh.cache.transactions import Held, HeldDelete, HeldEvents, HeldNames, HeldPut, hold, is_holding, moment
from everfresh.cache.values import Codec, is_left_out
from everfresh.matching.shapes import grouped, shape_and_values
from everfresh.model.clock import seconds_of
from everfresh.model.dependency import Dependency, Undescribed, check_dependencies
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import InvalidEvent, InvalidOption, NotInCache, TooManyGenerations
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol import publishing
from everfresh.protocol.acknowledging import acknowledged
from everfresh.protocol.applying import Applied
from everfresh.protocol.publishing import Published
from everfresh.protocol.reading import is_settled
from everfresh.protocol.requests import Delete, Load, Loaded, LoadMany, Put, ReadFeed, Register, Steps, ask
from everfresh.protocol.sourcing import Offset

_ANYTHING: Codec[Any] = Codec(Any, "get")


class Operations:
    """The operations of one cache; each is run by a driver."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Not its `id`: another cache may have that later, and misses outlive theirs.
        self._home = object()
        # What is got by its key is exact without a word from anybody, so it is held near only where that is too.
        self._near = engine.near if engine.is_near_exact and engine.near.is_holding else None

    @property
    def production_mode(self) -> bool:
        """Whether a mistake in a declaration is a warning, and not an error."""
        return self._engine.production_mode

    def publish(self, events: Sequence[Event]) -> Steps[Position]:
        """Apply the events as one step."""
        _check_events(events)
        if not events:
            return (yield from self.position())
        cause = self._cause()
        if is_holding(self) and hold(self, HeldEvents(tuple(events), cause)):
            return (yield from self.position())
        published = yield from publishing.publish(events, self._engine.shapes, cause=cause, encode=encode_event)
        self._announce(published, events[0].topic, events[0].id, len(events))
        return published.applied.position

    def invalidate(self, dependencies: Sequence[Dependency]) -> Steps[Position]:
        """Touch by name."""
        checked = check_dependencies(dependencies)
        return (yield from self._do(HeldNames(checked, self._cause()))) if checked else (yield from self.position())

    def everywhere(self, steps: Steps[Position]) -> Steps[Position]:
        """Publish or invalidate so that no process serves anything older once this ends.

        Raises:
            InvalidOption: a transaction is open here, which holds back what would have to be told.
        """
        if is_holding(self):
            msg = "acknowledged: a transaction is open here, and nobody is told before it ends. Ask after its block."
            raise InvalidOption(msg)
        position = yield from steps
        yield from acknowledged(position)
        return position

    def take_in(self, events: Sequence[Event], offset: Offset | None) -> Steps[Position]:
        """Apply what a source brought, and how far it has come; neither held back nor part of any build."""
        _check_events(events)
        offsets = () if offset is None else (offset,)
        if not events and not offsets:
            return (yield from self.position())
        published = yield from publishing.take_in(events, self._engine.shapes, offsets=offsets, encode=encode_event)
        if events:
            self._announce(published, events[0].topic, events[0].id, len(events))
        return published.applied.position

    def suspect(self, topics: Sequence[str], reason: str, per_s: float) -> Steps[int]:
        """Touch all that such events could have touched; how many entries depend on them themselves."""
        applied = (yield from publishing.suspect(topics, reason, self._engine.shapes, per_s=per_s)).applied
        self._engine.board.tell(
            "source.suspect",
            topics=tuple(topics),
            reason=reason,
            position=applied.position,
            n_touched=len(applied.touched),
            n_suspect=len(applied.suspect),
        )
        return len(applied.touched)

    def touched_by(self, event: Event) -> Steps[list[Key]]:
        """Which entries the event would touch."""
        _check_events([event])
        published = yield from publishing.publish([event], self._engine.shapes, is_dry=True)
        return sorted(published.applied.touched)

    def asked(self, key: str, asker: Slip | None = None) -> list[Asked]:
        """Said where `get` and `has` are called, which may be another task or thread than that which looks."""
        return misses.asked((self._home, Key(key)), asker) if type(key) is str else []

    def answered(self, key: str) -> Asked | None:
        """Said where `put` is called."""
        return misses.answered((self._home, Key(key))) if type(key) is str else None

    def put(
        self,
        key: str,
        value: object,
        dependencies: Sequence[Dependency],
        expires: timedelta | float | None,
        answered: Asked | None,
    ) -> Steps[None]:
        """Store a value by hand; the miss that it answers fences it."""
        new = new_key(key, what="put")
        data, digest = Codec[object](Any, f"put({key!r})").encode(value)
        checked = check_dependencies(dependencies)
        expires_s = _lifetime_s(expires)
        miss = None if answered is None else answered.miss
        if self._is_undescribed(key, checked):
            # What it was to replace is out of date.
            yield from self.delete([new])
            if answered is not None:
                answered.answer()
            return
        groups = grouped(map(shape_and_values, checked))
        fence, shows = miss if miss is not None else (None, moment())
        if is_holding(self):
            # Whatever others do until the end of the block is news to this value, and what the block itself said is
            # none; of a shape that nobody knows yet neither would leave a mark.
            yield from ask(Register(tuple(group.shape for group in groups)))
            fence = fence or (yield from self.position())
        request = Put(key=new, value=data, digest=digest, groups=groups, fence=fence, expires_s=expires_s)
        is_held = hold(self, HeldPut(request, shows, answered))
        if not is_held:
            yield from ask(request)
        # Only now: who tries again what failed still puts what was loaded after the miss.
        if answered is not None and is_held:
            answered.is_held = True
        elif answered is not None:
            answered.answer()

    def get(self, key: str, asked: Sequence[Asked]) -> Steps[Any]:
        """The value of an entry, if it is there and settled; those who asked are told of a miss."""
        loaded = yield from self._look(known_key(key, what="get"), asked)
        if loaded is None:
            msg = f"{key!r} is not in the cache. Put it, or call the function that makes it."
            raise NotInCache(msg)
        return _ANYTHING.decode(loaded.value)

    def has(self, key: str, asked: Sequence[Asked]) -> Steps[bool]:
        """Whether `get` would give a value."""
        return (yield from self._look(known_key(key, what="has"), asked)) is not None

    def delete(self, keys: Sequence[str]) -> Steps[int]:
        """Remove entries; how many there were."""
        request = Delete(known_keys(keys, what="delete"))
        if not hold(self, HeldDelete(request.keys)):
            return (yield from ask(request))
        loaded = yield from ask(LoadMany(tuple(set(request.keys))))
        return sum(one.entry is not None for one in loaded)

    def stored(self, key: str) -> Steps[Entry | None]:
        """Any entry, whatever its state."""
        known = known_key(key, what="stored")
        if known is None:
            return None
        entry = (yield from ask(Load(known))).entry
        frame = open_frame()
        if frame is not None:
            # Its value may go into what is built.
            frame.saw(known, entry)
        return entry

    def position(self) -> Steps[Position]:
        """The store's newest position."""
        return (yield from ask(ReadFeed(None))).position

    def _look(self, key: Key | None, asked: Sequence[Asked]) -> Steps[Entry | None]:
        if key is None:
            return None
        found, miss = self._held(key), None
        if found is None:
            try:
                found, miss = yield from self._load(key)
            except BaseException:
                for one in asked:
                    one.give_up()
                raise
        frame = open_frame()
        if frame is not None:
            frame.saw(key, found)
        for one in asked:
            one.tell(miss)
        return None if miss is not None else found

    def _held(self, key: Key) -> Entry | None:
        """The entry as it is held near, once it is known to be current."""
        if self._near is None:
            return None
        if self._engine.store.is_shared:
            self._engine.confirm_near()
        slot = self._near.get(key)
        if slot is None or slot.entry.is_over(self._engine.clock()) or not _is_value(slot.entry):
            return None
        slot.is_used = True
        return slot.entry

    def _load(self, key: Key) -> Steps[tuple[Entry | None, Miss | None]]:
        """What is settled under the key, held near from now on; and the miss, if that is no value."""
        near, slot = self._near, None
        ticket = None if near is None else near.open(key)
        try:
            loaded: Loaded = yield from ask(Load(key))
            found = loaded.entry if loaded.entry is not None and is_settled(loaded.entry, loaded.now) else None
            if found is None or not _is_value(found):
                return found, Miss(loaded.position, moment())
            self._engine.attention.read(key)
            # Functions hold their own, as their callers want them.
            slot = None if found.function else Slot(found, None)
            return found, None
        finally:
            if near is not None and ticket is not None:
                near.settle(ticket, slot)

    def carry_out(self, held: Held, shown_by: tuple[Put, ...] = ()) -> Steps[Applied | None]:
        """Do what was asked for; what came of the events in it, which the puts to come show."""
        match held:
            case HeldEvents(events, cause):
                shapes = self._engine.shapes
                published = yield from publishing.publish(
                    events, shapes, cause=cause, encode=encode_event, puts=shown_by
                )
                self._announce(published, events[0].topic, events[0].id, len(events))
                return published.applied
            case HeldNames(dependencies, cause):
                published = yield from publishing.invalidate(
                    dependencies, self._engine.shapes, cause=cause, puts=shown_by
                )
                self._announce(published, "invalidate", None, len(dependencies))
                return published.applied
            case HeldPut(request):
                yield from ask(request)
            case HeldDelete(keys):
                # What the block puts then it knows to be newer; from others it may come from before.
                own = {put.key for put in shown_by}
                for some, outruns in ([key for key in keys if key not in own], True), (own, False):
                    if some:
                        yield from ask(Delete(tuple(some), outruns=outruns))
            case _:
                assert_never(held)
        return None

    def _do(self, held: Held) -> Steps[Position]:
        """Do it, or hold it back in a transaction; the position of its events, or the newest."""
        applied = None if hold(self, held) else (yield from self.carry_out(held))
        return applied.position if applied is not None else (yield from self.position())

    def _cause(self) -> tuple[str, ...]:
        """The chain of builds behind what is published here.

        Raises:
            TooManyGenerations: events of builds have led to builds too often.
        """
        frame = open_frame()
        if frame is None:
            return ()
        chain, n_max = frame.generations, self._engine.max_generations
        if len(chain) > n_max:
            msg = (
                f"generations: {' -> '.join(chain)}. Events that builds published have led to {len(chain)} builds one "
                f"after the other, {n_max} are allowed. Publish where the data is written, not where it is read; or "
                "raise max_generations."
            )
            raise TooManyGenerations(msg)
        return chain

    def _is_undescribed(self, key: str, dependencies: Sequence[Dependency]) -> bool:
        """Whether the value hangs on a list that nobody described, so that it must not be kept.

        Raises:
            InvalidDependency: it does, and this is no production.
        """
        for dependency in dependencies:
            if isinstance(dependency, Undescribed):
                if not self._engine.production_mode:
                    raise undescribed(dependency)
                self._engine.warn_undescribed(key, dependency)
                return True
        return False

    def _announce(self, published: Published, topic: str, event_id: str | None, n_events: int) -> None:
        board, applied = self._engine.board, published.applied
        if not board.has_listeners("event.applied"):
            return
        board.tell(
            "event.applied",
            topic=topic,
            id=event_id,
            n_events=n_events,
            position=applied.position,
            touched=applied.touched,
            suspect=applied.suspect,
            n_widened=len(published.widened),
            n_predicates=published.n_judged,
        )


def _is_value(entry: Entry) -> bool:
    """Whether it holds a value: neither an error that was cached, nor that an id has none."""
    return not entry.is_error and not (entry.function and is_left_out(entry.value))


def _check_events(events: Sequence[object]) -> None:
    for event in events:
        if not isinstance(event, Event):
            msg = f"publish: {event!r} is no event. Use Event(topic, body) or Event.change(type, before=, after=)."
            raise InvalidEvent(msg)


def _lifetime_s(expires: timedelta | float | None) -> float | None:
    if expires is None:
        return None
    is_number = type(expires) in (int, float)
    lifetime_s = float(cast("float", expires)) if is_number else seconds_of(expires, option="expires")
    if not lifetime_s > 0:
        msg = f"expires: {expires!r} leaves no time. Use more than zero seconds, or None for no limit."
        raise InvalidOption(msg)
    return lifetime_s
