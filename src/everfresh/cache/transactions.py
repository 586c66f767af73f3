"""Transactions: what is published, put or deleted in a block is held back until the block ends well.

Rules
- A block is found by a context variable. A nested block keeps its own, and hands it to the outer one when it ends well.
- A block that raises drops what was held in it, and what came from the blocks in it. Only when something was built in
  this process meanwhile its events are told all the same: the build may have read what is rolled back.
- A put shows the events that were said in the block before it, or before the miss that it answers. They do not outrun
  it, while any other does: the step that applies them is asked whether something else had.
- A task or thread that was started within a block is part of it: `gather(cache.publish(a), cache.publish(b))` is held
  back, and dropped, like the same two calls one after the other.
- Once a block has ended, whoever still finds it says things at once.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from bisect import bisect
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Never, Protocol, Self

from everfresh.cache.builds import runs
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.misses import Asked
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Key
from everfresh.model.errors import StoreError
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied
from everfresh.protocol.requests import Put, Steps

_moments = itertools.count()


def moment() -> int:
    """A number above all that were given in this process before: what was said first, and what later."""
    return next(_moments)


@dataclass(frozen=True, slots=True)
class HeldEvents:
    """Events to be published, with the chain of builds behind them."""

    events: tuple[Event, ...]
    cause: tuple[str, ...] = ()
    said_at: int = field(default_factory=moment, compare=False)


@dataclass(frozen=True, slots=True)
class HeldNames:
    """Dependencies to be touched by name."""

    dependencies: tuple[Dependency, ...]
    cause: tuple[str, ...] = ()
    said_at: int = field(default_factory=moment, compare=False)


@dataclass(frozen=True, slots=True)
class HeldPut:
    """A value to be stored, encoded and fenced when it was put.

    It shows what was said in the block before the moment `shows`. `answered` is the miss that it answers.
    """

    request: Put
    shows: int
    answered: Asked | None = None


@dataclass(frozen=True, slots=True)
class HeldDelete:
    """Entries to be removed."""

    keys: tuple[Key, ...]


Held = HeldEvents | HeldNames | HeldPut | HeldDelete


def merged(held: Iterable[Held]) -> list[Held]:
    """The same in order, with events that follow each other as one step of the store, and names too.

    Not those between which a put has its moment: it shows the former, and the latter outrun it.
    """
    everything, steps = list(held), list[Held]()
    shows = sorted(one.shows for one in everything if isinstance(one, HeldPut))

    def is_one_step(before: HeldEvents | HeldNames, then: HeldEvents | HeldNames) -> bool:
        return before.cause == then.cause and bisect(shows, before.said_at) == bisect(shows, then.said_at)

    for one in everything:
        match steps[-1] if steps else None, one:
            case HeldEvents() as before, HeldEvents() if is_one_step(before, one):
                steps[-1] = replace(before, events=(*before.events, *one.events))
            case HeldNames() as before, HeldNames() if is_one_step(before, one):
                steps[-1] = replace(before, dependencies=(*before.dependencies, *one.dependencies))
            case _:
                steps.append(one)
    return steps


class Block:
    """One block that is being run. Safe from every thread."""

    def __init__(self, home: object, outer: Block | None) -> None:
        self.home = home
        """Whose block it is: transactions of two caches do not mix."""
        self.outer = outer
        self._mark = runs.mark()
        self._held: list[Held] = []
        self._is_open = True
        self._lock = threading.Lock()

    def hold(self, held: Held) -> bool:
        """Keep it until the block ends; False when it has ended."""
        with self._lock:
            if self._is_open:
                self._held.append(held)
            return self._is_open

    @property
    def is_open(self) -> bool:
        """Whether it still holds things back."""
        return self._is_open

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was built in this process since it began."""
        return runs.is_quiet_since(self._mark)

    def end(self) -> list[Held]:
        """End the block; what was held in it."""
        with self._lock:
            self._is_open = False
            return self._held


_innermost: ContextVar[Block | None] = ContextVar("everfresh_transaction", default=None)


def hold(home: object, held: Held) -> bool:
    """Hold it back if a block of that home is open here; False when it is to be done at once."""
    block = _innermost.get()
    return block is not None and any(around.hold(held) for around in _blocks_of(home, block))


def is_holding(home: object) -> bool:
    """Whether a block of that home is open here."""
    block = _innermost.get()
    return block is not None and any(around.is_open for around in _blocks_of(home, block))


class Carrier(Protocol):
    """Who carries out what was held."""

    def carry_out(self, held: Held, shown_by: tuple[Put, ...] = ()) -> Steps[Applied | None]:
        """Do one thing; what came of the events in it, which the puts to come show."""
        ...

    def position(self) -> Steps[Position]:
        """The store's newest position."""
        ...


class _Transaction:
    """What both colours share: the block, and what is left to do after it."""

    # Made when the block is entered: each time is one of its own.
    _block: Block

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._left: list[Held] = []
        self.position: Position | None = None
        """Where the block's events stand, once they are published: `f.read(after=position)` sees them."""

    def _open(self) -> None:
        self._block = Block(self._carrier, _innermost.get())
        _innermost.set(self._block)

    def _end(self, *, is_well: bool) -> bool:
        """End the block; whether something is left to do here."""
        block = self._block
        # Not by a token: what a fixture opens is closed in another context. And only from the innermost: what an
        # asynchronous generator opens may end before a later block, which goes on.
        if _innermost.get() is block:
            _innermost.set(block.outer)
        held = block.end()
        if is_well:
            around = list(_blocks_of(self._carrier, block.outer))
            self._left = merged(one for one in held if not any(outer.hold(one) for outer in around))
            for one in self._left:
                if isinstance(one, HeldPut) and one.answered is not None:
                    one.answered.answer()
            return bool(self._left) or not any(outer.is_open for outer in around)
        for one in held:
            if isinstance(one, HeldPut) and one.answered is not None:
                # It was not put: the miss stands.
                one.answered.is_held = False
        # At once, whatever is around the block: what was built from this one is served already.
        self._left = [] if block.is_quiet else merged(one for one in held if isinstance(one, HeldEvents | HeldNames))
        return bool(self._left)

    def _finish(self) -> Steps[None]:
        """Do what is left, in order; what is done is done once, so that it may be repeated after an error."""
        position: Position | None = None
        n_steps = len(self._left)
        try:
            while self._left:
                showing = self._showing()
                puts = tuple(one.request for _, one in showing)
                applied = yield from self._carrier.carry_out(self._left[0], puts)
                if applied is not None:
                    position = applied.position
                    self._raise_fences(showing, applied)
                del self._left[0]
        except Exception as error:
            if self._left:
                error.add_note(
                    f"transaction: the block itself has ended, but {len(self._left)} of its {n_steps} steps are not "
                    "done. Call `finish` of the block to try them again."
                )
            raise
        self.position = position if position is not None else (yield from self._carrier.position())

    def _showing(self) -> list[tuple[int, HeldPut]]:
        """The puts to come that show the events of the next step, or come after what it deletes, with their places."""
        step, places = self._left[0], enumerate(self._left)
        if isinstance(step, HeldDelete):
            return [(place, one) for place, one in places if isinstance(one, HeldPut) and one.request.key in step.keys]
        if not isinstance(step, HeldEvents | HeldNames):
            return []
        return [(place, one) for place, one in places if isinstance(one, HeldPut) and one.shows > step.said_at]

    def _raise_fences(self, showing: list[tuple[int, HeldPut]], applied: Applied) -> None:
        """Have the puts outrun by what comes after the events alone; not those that something before had outrun."""
        for number, (place, one) in enumerate(showing):
            if number not in applied.outrun:
                self._left[place] = replace(one, request=replace(one.request, fence=applied.position))


def _refusing(advice: str) -> Callable[..., Never]:
    def refuse(*_: object) -> Never:
        raise TypeError(f"transaction: {advice}")

    return refuse


class Transaction(_Transaction):
    """A block of asynchronous code whose events and puts wait for its good end; made by `cache.transaction()`."""

    # Objects to a type checker, so that it refuses a plain `with` before anything runs.
    __enter__: object = _refusing(
        "this one is asynchronous. Write `async with cache.transaction():`; blocking code writes "
        "`with cache.blocking.transaction():`."
    )
    __exit__: object = __enter__

    def __init__(self, carrier: Carrier, driver: AsyncDriver) -> None:
        super().__init__(carrier)
        self._driver = driver

    async def finish(self) -> None:
        """Do what the end of the block could not do because the store did not answer; repeating is safe.

        A cancellation comes through only after all of it is done: what happened must be told.
        """
        steps = asyncio.ensure_future(self._driver.run(self._finish()))
        try:
            await asyncio.shield(steps)
        except asyncio.CancelledError:
            while not steps.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([steps])
            # If the store failed, that is what has to be known: events are left.
            steps.result()
            raise

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._end(is_well=error is None):
            with _noted_on(error):
                await self.finish()


class BlockingTransaction(_Transaction):
    """The same for synchronous code; made by `cache.blocking.transaction()`."""

    # As above.
    __aenter__: object = _refusing(
        "this one is blocking. Write `with cache.blocking.transaction():`; asynchronous code writes "
        "`async with cache.transaction():`."
    )
    __aexit__: object = __aenter__

    def __init__(self, carrier: Carrier, driver: BlockingDriver) -> None:
        super().__init__(carrier)
        self._driver = driver

    def finish(self) -> None:
        """Do what the end of the block could not do because the store did not answer; repeating is safe."""
        self._driver.run(self._finish())

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._end(is_well=error is None):
            with _noted_on(error):
                self.finish()


@contextmanager
def _noted_on(error: BaseException | None) -> Generator[None]:
    """Have the error of the block raised, and not that of its end; that is a note on it."""
    try:
        yield
    except StoreError as failure:
        if error is None:
            raise
        for line in (f"transaction: {type(failure).__name__}: {failure}", *getattr(failure, "__notes__", ())):
            error.add_note(line)


def _blocks_of(home: object, block: Block | None) -> Iterator[Block]:
    """The block and those around it, innermost first; one that has ended may be among them."""
    while block is not None:
        if block.home is home:
            yield block
        block = block.outer
