"""Reads: how the calls of one function meet the near cache and the build that makes them, whatever their colour.

A reader looks for slots, asks the store for the rest by the rules, and hands what it got back, to be held near.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from everfresh.cache.caching_errors import decode_error
from everfresh.cache.drivers import within_build
from everfresh.cache.engine import BoundCall, Engine, Spec
from everfresh.cache.near import Slot, SlotsOfArgs, Ticket
from everfresh.cache.secrets import kept_secret
from everfresh.cache.tracking import open_frame
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import InvalidPosition
from everfresh.model.position import Position
from everfresh.protocol.outage import despite_outage, read_alone
from everfresh.protocol.queueing import Enqueue
from everfresh.protocol.reading import Serve, read, verdict
from everfresh.protocol.requests import STRICT, Bounds, Call, Load, LoadMany, Revalidate, Steps, ask

R = TypeVar("R")

# Types whose equal values have one canonical text; of 1, True and 1.0 the types are compared besides.
_PLAIN_TYPES = frozenset({str, int, bool, bytes, type(None), UUID, date})


@dataclass(slots=True)
class Wanted:
    """What somebody needs who asks for many calls at once: `keys` in order, and by key what was found of them so far.

    `calls` are those that no slot answers; each has a ticket.
    """

    keys: list[Key] = field(default_factory=list[Key])
    args: dict[Key, tuple[Any, ...]] = field(default_factory=dict[Key, tuple[Any, ...]])
    slots: dict[Key, Slot] = field(default_factory=dict[Key, Slot])
    calls: dict[Key, BoundCall] = field(default_factory=dict[Key, BoundCall])
    tickets: dict[Key, Ticket] = field(default_factory=dict[Key, Ticket])
    entries: dict[Key, Entry] = field(default_factory=dict[Key, Entry])
    errors: dict[Key, Exception] = field(default_factory=dict[Key, Exception])
    values: dict[Key, Any] = field(default_factory=dict[Key, Any])


class Reads(Generic[R]):
    """The reads of one function."""

    def __init__(self, engine: Engine, spec: Spec) -> None:
        self.engine = engine
        self.spec = spec
        self.slots: SlotsOfArgs = {}
        """Slots by plain positional arguments."""
        is_holding = engine.store.is_shared and engine.near.is_holding
        self.confirm: Callable[[], None] | None = engine.confirm_near if is_holding else None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BoundCall:
        """The call with these arguments."""
        signature = self.spec.signature
        arguments = signature.bind(args, kwargs)
        return self.engine.bind(self.spec, arguments, signature.key(arguments))

    def load(self, entry: Entry) -> R:
        """The value of an entry, as a new object; the error that it holds is raised."""
        if entry.is_error:
            error = decode_error(entry.value, self.spec.cache_errors)
            raise kept_secret(error) if self.spec.signature.secret else error
        value: R = self.spec.codec().decode(entry.value)
        return value

    def value_of(self, slot: Slot) -> R:
        """The value of a slot."""
        slot.is_used = True
        if slot.is_immutable:
            return cast("R", slot.value)
        return self.load(slot.entry)

    def slot(self, key: Key, after: Position | None = None) -> Slot | None:
        """The near cache's slot, once it is known to be current; a build that uses it is seen to.

        Raises:
            RecursiveBuild: the key is being built, further up.
        """
        if self.confirm is not None:
            self.confirm()
        return self._confirmed_slot(key, after)

    def bounds(self, bounds: Bounds) -> Bounds:
        """Within a build nothing stale is used while it can be refreshed: the outer value would be stale at birth."""
        return bounds if open_frame() is None else within_build(bounds)

    def steps(self, call: BoundCall, bounds: Bounds, after: Position | None) -> Steps[Entry]:
        """The rules for one call."""
        return read(call, self.bounds(bounds)) if after is None else read_after(call, after)

    def received(self, entry: Entry, ticket: Ticket, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """The value of an entry that was read, seen by the build that read it, and held near."""
        slot = None
        self.engine.attention.read(entry.key)
        try:
            value = self.taken(entry)
            slot = self._new_slot(entry, value, None if kwargs else args)
        finally:
            self.engine.near.settle(ticket, slot)
        return value

    def missed(self, ticket: Ticket, error: BaseException) -> None:
        """Nothing was received."""
        self.engine.near.settle(ticket, None)
        self.stumble(ticket.key, error)

    def taken(self, entry: Entry) -> R:
        """The value of an entry, seen by the build that read it."""
        frame = open_frame()
        if frame is not None:
            frame.saw(entry.key, entry)
        return self.load(entry)

    def looked_at(self, key: Key, entry: Entry | None) -> Entry | None:
        """What was looked at. That nothing is there is something that a build hangs on, too."""
        frame = open_frame()
        if frame is not None:
            frame.saw(key, entry)
        return entry

    def peeked(self, key: Key, entry: Entry | None) -> R | None:
        """The value of what was looked at."""
        found = self.looked_at(key, entry)
        return None if found is None else self.load(found)

    def enter(self, key: Key) -> None:
        """Refuse to need what is being built.

        Raises:
            RecursiveBuild: the key is being built, further up.
        """
        frame = open_frame()
        if frame is not None:
            frame.enter(key)

    def stumble(self, key: Key, error: BaseException) -> None:
        """Tell the build that called that this value could not be had, in case that it goes on without."""
        frame = open_frame()
        if frame is not None and isinstance(error, Exception):
            frame.stumbled(key, self.engine.see(key), takes_old=self.spec.policy.bounds.stale_if_error_s > 0)

    # --------------------------------------------------------------------------------------------------- many at once

    def args_of(self, calls: Iterable[object]) -> list[tuple[Any, ...]]:
        """The positional arguments of each call: the element itself for a function of one parameter, else a tuple.

        Raises:
            TypeError: it is no list, or an element is no tuple.
        """
        if isinstance(calls, str | bytes):
            raise TypeError(f"{self.spec.name}: many takes a list with an element for each call, not one text.")
        try:
            each = iter(calls)
        except TypeError as error:
            msg = f"{self.spec.name}: many takes a list with an element for each call. Write [{calls!r}]."
            raise TypeError(msg) from error
        if self.spec.signature.takes_one:
            return [(one,) for one in each]
        listed = list(each)
        for one in listed:
            if not isinstance(one, tuple):
                msg = f"{self.spec.name}: many takes a tuple of positional arguments for each call, not {one!r}."
                raise TypeError(msg)
        return cast("list[tuple[Any, ...]]", listed)

    def first_builds(self, many: Iterable[tuple[Any, ...]], kwargs: dict[str, Any]) -> Enqueue:
        """The request that queues the first builds of the calls with these arguments."""
        bound = [self.bind(args, kwargs) for args in many]
        return Enqueue({call.key: call.recipe for call in bound}, self.spec.policy.terms)

    def want(
        self, many: Iterable[tuple[Any, ...]], kwargs: dict[str, Any] | None = None, *, after: Position | None = None
    ) -> Wanted:
        """What is needed for the calls with these arguments, and what of it the near cache holds.

        Raises:
            RecursiveBuild: one of them is being built, further up.
        """
        if self.confirm is not None:
            self.confirm()
        wanted = Wanted()
        signature = self.spec.signature
        for args in many:
            arguments = signature.bind(args, kwargs or {})
            key = signature.key(arguments)
            wanted.keys.append(key)
            if key in wanted.calls or key in wanted.slots:
                continue
            slot = self._confirmed_slot(key, after)
            if slot is not None:
                wanted.slots[key] = slot
                continue
            wanted.calls[key] = self.engine.bind(self.spec, arguments, key)
            if not kwargs:
                wanted.args[key] = args
        # Only now, as what is opened must be settled.
        wanted.tickets = {key: self.engine.near.open(key) for key in wanted.calls}
        return wanted

    def settle(self, wanted: Wanted) -> None:
        """Hold near what was found, and tell the build that called of it, and of what was not."""
        frame = open_frame()
        for key, ticket in wanted.tickets.items():
            entry = wanted.entries.get(key)
            slot = None
            try:
                if entry is not None and not entry.is_error:
                    value = wanted.values[key] = self.load(entry)
                    slot = self._new_slot(entry, value, wanted.args.get(key))
            finally:
                self.engine.near.settle(ticket, slot)
            if entry is not None:
                self.engine.attention.read(key)
                if frame is not None:
                    frame.saw(key, entry)
            elif key in wanted.errors:
                self.stumble(key, wanted.errors[key])

    def entry_of(self, wanted: Wanted, key: Key) -> Entry:
        """What was found; why it was not, is raised."""
        error = wanted.errors.get(key)
        if error is not None:
            raise error
        slot = wanted.slots.get(key)
        return slot.entry if slot is not None else wanted.entries[key]

    def value_in(self, wanted: Wanted, key: Key) -> R:
        """The value of what was found, a new object each time; why it was not found, is raised."""
        slot = wanted.slots.get(key)
        if slot is not None:
            return self.value_of(slot)
        entry = self.entry_of(wanted, key)
        if key in wanted.values:
            return cast("R", wanted.values.pop(key))
        return self.load(entry)

    def _confirmed_slot(self, key: Key, after: Position | None) -> Slot | None:
        slot = self.engine.near.get(key)
        if slot is not None and not self._is_good(slot.entry, after):
            slot = None
        frame = open_frame()
        if frame is not None:
            frame.enter(key)
            if slot is not None:
                frame.saw(key, slot.entry)
        return slot

    def _is_good(self, entry: Entry, after: Position | None) -> bool:
        # Two keys that were named by hand may meet; the store tells them apart by their fingerprint.
        if entry.function != self.spec.name:
            return False
        if entry.ends_at() is not None and entry.is_over(self.engine.clock()):
            return False
        return after is None or entry.position.covers(after)

    def _new_slot(self, entry: Entry, value: object, args: tuple[Any, ...] | None) -> Slot | None:
        """A slot for an entry that may be held; plain arguments lead straight to it, unless its time ends."""
        if entry.stale_since is not None or not self.engine.near.is_holding:
            return None
        is_plain = args is not None and entry.ends_at() is None and _PLAIN_TYPES.issuperset(map(type, args))
        return Slot(entry, value, home=self.slots if is_plain else None, args=args or ())


@dataclass(frozen=True, slots=True)
class Found:
    """Of many calls, what could be served at once, and those that are left to be read one by one.

    `good_from` is where the store was at the look, for each key, as far as it told.
    """

    entries: dict[Key, Entry]
    left: list[Call]
    good_from: dict[Key, int]


def look(calls: Sequence[Call], bounds: Bounds) -> Steps[Found]:
    """Look for all of the calls in one step; they are of one function."""
    return (yield from despite_outage(_look(calls, bounds), calls, lambda: _left(calls)))


def _left(calls: Sequence[Call]) -> Steps[Found]:
    """All are left: each read finds out by itself what to do about it."""
    yield from ()
    return Found({}, list({call.key: call for call in calls}.values()), {})


def _look(calls: Sequence[Call], bounds: Bounds) -> Steps[Found]:
    looked = yield from ask(LoadMany(tuple(call.key for call in calls), calls[0].fingerprint))
    found = Found({}, [], {call.key: loaded.position.sequence for call, loaded in zip(calls, looked, strict=True)})
    for call, loaded in zip(calls, looked, strict=True):
        match verdict(loaded, bounds, loaded.position.sequence):
            case Serve(entry, is_stale):
                found.entries[call.key] = entry
                if is_stale:
                    yield from ask(Revalidate(call))
            case _:
                found.left.append(call)
    return found


def read_after(call: Call, after: Position) -> Steps[Entry]:
    """An entry that does not miss what was published at `after`, nor does anything that it was built from.

    A position that this store never gave is of another life of it: then nothing is good that was built before now.
    """
    (entry,) = yield from despite_outage(_read_after(call, after), [call], lambda: read_alone([call], STRICT))
    return entry


def _read_after(call: Call, after: Position) -> Steps[list[Entry]]:
    loaded = yield from ask(Load(call.key, call.fingerprint))
    newest = loaded.position
    sequence = after.sequence_in(newest.epoch)
    good_from = newest.sequence if sequence is None or sequence > newest.sequence else sequence
    match verdict(loaded, STRICT, good_from):
        case Serve(entry):
            return [entry]
        case _:
            return [(yield from read(call, STRICT, good_from=good_from))]


def checked_position(after: object) -> Position:
    """The position, if it is one.

    Raises:
        InvalidPosition: it is something else.
    """
    if not isinstance(after, Position):
        msg = f"read: after is {after!r}. Give the position that publish gave, or Position.parse(its text)."
        raise InvalidPosition(msg)
    return after
