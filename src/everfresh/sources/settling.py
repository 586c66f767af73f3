"""Settling: all that becomes of one batch before it may be acknowledged.

Rules
- What cannot be read, or is refused by the cache, is in quarantine before the batch's offset stands.
- What a gap concerns is suspect before the batch's offset stands.
- The offset stands in the step that applies the last of the batch.
- While the store does not answer, all of this waits and is tried again; none of it harms when it is done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from everfresh.cache.sourcing import SourceOperations
from everfresh.model.clock import Dice
from everfresh.model.errors import EverfreshError, StoreError, StoreUnavailable
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Offset, Unreadable
from everfresh.sources.addresses import told
from everfresh.sources.backoff import Backoff
from everfresh.sources.canary import is_canary
from everfresh.sources.connecting import Unanswered, answer
from everfresh.sources.formats import PartlyRead
from everfresh.sources.quarantine import ANYTHING, BETWEEN_ANSWERS_S, DROPPED, reason_of, unreadable
from everfresh.sources.reports import Status
from everfresh.sources.source import Adapter, Batch

T = TypeVar("T")

# A step of more events holds up others for longer than it saves; one of more bytes is slow to write.
_MAX_EVENTS = 1_000
_MAX_BYTES = 1_048_576
_FIRST_S, _MOST_S = 0.1, 5.0
# Of one batch; a sender of nonsense must not fill the log.
_MAX_TOLD = 10
# Shows whether the store takes any event at all.
_HARMLESS = Event("everfresh.probe")

Piece = tuple[Message, Sequence[Event]]
"""A message, and the events in it."""


@dataclass(slots=True)
class _Read:
    """What the messages of a batch say."""

    pieces: list[Piece] = field(default_factory=list[Piece])
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])
    n_canaries: int = 0


class Settler:
    """Settles the batches of one source, one after the other."""

    def __init__(
        self,
        operations: SourceOperations,
        adapter: Adapter,
        status: Status,
        *,
        dice: Dice,
        suspects_per_s: float,
        n_quarantined_max: int,
    ) -> None:
        self._operations = operations
        self._adapter = adapter
        self._status = status
        self._dice = dice
        self._suspects_per_s = suspects_per_s
        self._n_quarantined_max = n_quarantined_max
        self._has_dropped = False
        self._next_answer_at = 0.0

    async def settle(self, batch: Batch, *, is_beginning: bool = False) -> None:
        """Do all of it, however long the store does not answer; repeating is safe.

        With `is_beginning` a gap is what came before anybody followed the source, and no loss.

        Raises:
            StoreError: the store will not answer any more, as the cache was closed.
        """
        read = self._read(batch.messages)
        if batch.gap:
            topics = batch.gap_topics or self._adapter.delivers
            if not is_beginning:
                self._status.gap(batch.gap, topics)
            await self.suspect(topics, batch.gap)
        await self._keep(read.unreadable)
        await self.tend()
        offset = None if batch.offset is None else Offset(self._adapter.name, batch.offset)
        chunks = list(_chunks(read.pieces)) or ([[]] if offset is not None else [])
        for number, chunk in enumerate(chunks, start=1):
            await self._apply(chunk, offset if number == len(chunks) else None)
        self._note(batch, read)

    async def tend(self) -> None:
        """Answer for messages that went out of a full quarantine; to be asked now and then.

        The first loss is answered at once, later ones together.
        """
        now = asyncio.get_running_loop().time()
        if not self._has_dropped or now < self._next_answer_at:
            return
        self._has_dropped, self._next_answer_at = False, now + BETWEEN_ANSWERS_S
        self._status.gap(DROPPED, ANYTHING)
        await self.suspect(ANYTHING, DROPPED)

    async def suspect(self, topics: Sequence[str], reason: str) -> None:
        """Have what depends on the topics built anew."""
        why = f"{self._adapter.name}: {reason}"
        await self.insist(partial(self._operations.suspect, topics, why, per_s=self._suspects_per_s))

    async def insist(self, ask: Callable[[], Coroutine[object, object, T]]) -> T:
        """Ask the store until it answers.

        Raises:
            StoreError: it never will.
        """
        backoff = Backoff(_FIRST_S, _MOST_S, self._dice)
        while True:
            try:
                answered = await answer(ask(), None)
            except (StoreUnavailable, Unanswered) as error:
                self._status.store_failed(told(error))
                await asyncio.sleep(backoff.next_s())
            else:
                self._status.store_answers()
                return answered

    def _read(self, messages: Sequence[Message]) -> _Read:
        read = _Read()
        events_of = self._adapter.format.events_of
        for message in messages:
            if is_canary(message):
                read.n_canaries += 1
                continue
            try:
                events = events_of(message)
            except Exception as error:  # noqa: BLE001 - a format may be anybody's, and no message may stop the others
                read.unreadable.append(self._unreadable(message, error))
                events = error.events if isinstance(error, PartlyRead) else ()
            if events:
                read.pieces.append((message, events))
        return read

    async def _keep(self, messages: Sequence[Unreadable]) -> None:
        if not messages:
            return
        keep = partial(self._operations.quarantine, messages, n_max=self._n_quarantined_max)
        n_dropped = await self.insist(keep)
        self._status.n_unreadable += len(messages)
        for one in messages[:_MAX_TOLD]:
            self._status.log("message.unreadable", id=one.id, topic=one.message.topic, reason=one.reason)
        if len(messages) > _MAX_TOLD:
            self._status.log("message.more_unreadable", n_more=len(messages) - _MAX_TOLD)
        if n_dropped:
            self._status.log("quarantine.full", n_dropped=n_dropped)
            self._has_dropped = True

    async def _apply(self, pieces: Sequence[Piece], offset: Offset | None) -> None:
        events = [event for _, of_message in pieces for event in of_message]
        backoff = Backoff(_FIRST_S, _MOST_S, self._dice)
        while True:
            try:
                await self.insist(partial(self._operations.apply, events, offset=offset))
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - what an event may hold that a store cannot take, nobody lists
                if events and await self._is_fault_of_events(error):
                    break
                # Whatever ails the store, it is no reason to give up a single event.
                self._status.store_failed(told(error))
                await asyncio.sleep(backoff.next_s())
            else:
                return
        await self._apply_one_by_one(pieces)
        if offset is not None:
            await self.insist(partial(self._operations.apply, (), offset=offset))

    async def _apply_one_by_one(self, pieces: Sequence[Piece]) -> None:
        """Something among them is refused; only what it is goes to quarantine."""
        for message, events in pieces:
            try:
                await self.insist(partial(self._operations.apply, events))
            except StoreError:
                raise
            except Exception as error:
                if not await self._is_fault_of_events(error):
                    raise
                await self._keep([self._unreadable(message, error)])

    async def _is_fault_of_events(self, error: Exception) -> bool:
        """Whether the events are refused, and not everything is."""
        if isinstance(error, EverfreshError):
            return True
        try:
            await self.insist(partial(self._operations.apply, (_HARMLESS,)))
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - as above
            return False
        return True

    def _unreadable(self, message: Message, error: Exception) -> Unreadable:
        return unreadable(self._adapter.name, self._adapter.format.name, reason_of(error), message)

    def _note(self, batch: Batch, read: _Read) -> None:
        status, now = self._status, asyncio.get_running_loop().time()
        status.lag = batch.lag
        if read.n_canaries:
            status.canary_at = now
        if read.pieces or read.unreadable:
            status.event_at = now
        status.n_events += sum(len(events) for _, events in read.pieces)


def _chunks(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    """The pieces in order, so many together as one step should have."""
    chunk: list[Piece] = []
    n_events = n_bytes = 0
    for piece in pieces:
        message, events = piece
        if chunk and (n_events + len(events) > _MAX_EVENTS or n_bytes + len(message.body) > _MAX_BYTES):
            yield chunk
            chunk, n_events, n_bytes = [], 0, 0
        chunk.append(piece)
        n_events += len(events)
        n_bytes += len(message.body)
    if chunk:
        yield chunk
