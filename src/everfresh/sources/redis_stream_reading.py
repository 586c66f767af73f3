"""One consumer of the group of a Redis stream.

Consumers share a group; the group, and not we, knows who was given what. What the server promises is used, and what it
does not tell is looked for:

- An entry that was given and not acknowledged stays pending. At each opening a consumer reads its own first, now and
  then those that others have left, as their processes died.
- Reading goes with a look at the stream and the group, in one step of the server, so nothing is trimmed between.
- Waiting is an XREAD, which takes nothing: a wait that is cut off loses nothing. After a reading that was cut off, all
  that is pending at this consumer is read again, but for what it knows to be under way.
- The stored offset says up to where all is acknowledged. It is needed when the group is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import exceptions

from everfresh.model.message import Message
from everfresh.sources.redis_stream_entries import Entry, EntryFields
from everfresh.sources.redis_stream_places import (
    ZERO,
    Extent,
    Id,
    Loss,
    extent_of,
    id_of,
    loss_of,
    loss_since,
    offset_now,
    offset_of,
    progress_of,
)
from everfresh.sources.source import Batch, SourceUnavailable
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.failures import DRIVER_ERRORS, described

# The driver gives up after two seconds of silence.
_BLOCK_S = 1.0
# A consumer without pending entries is only a name; whoever comes back to it makes it anew.
_FORGET_AFTER = 10
_CLAIMS_WITHIN = 4
# Nobody is forgotten who was given something: between a look and the forgetting somebody could be, so this is one step.
_FORGET = """
local gone = 0
for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #told, 2 do of[told[i]] = told[i + 1] end
  if of.pending == 0 and (of.name == ARGV[2] or of.idle >= tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    gone = gone + 1
  end
end
return gone
"""

Entries = Iterable[tuple[bytes, Entry]]


@dataclass(slots=True, kw_only=True)
class Terms:
    """What is consumed, and how."""

    address: Address
    stream: str
    group: str
    fields: EntryFields
    starts_at_all: bool
    claim_after_s: float
    untold: str = ""
    """Why messages may have been lost, until a batch that says so is acknowledged."""

    def unavailable(self, error: Exception) -> SourceUnavailable:
        """The driver's error in words for people."""
        said = str(error)
        place = f"stream {self.stream} at {self.address}"
        if said.startswith("NOGROUP") or "consumer group this client was blocked on" in said:
            return SourceUnavailable(f"{place}: the group {self.group} is gone.")
        if said.startswith("WRONGTYPE"):
            return SourceUnavailable(f"{place}: another kind of value is stored under this name.")
        return SourceUnavailable(f"{place}: {str(described(self.address, error)).replace('store URL', 'URL')}")


class OpenRedisStream:
    """One consumer of the group; see `Stream`."""

    def __init__(self, terms: Terms, client: Any, consumer: str) -> None:  # noqa: ANN401 - an untyped driver
        self._terms = terms
        self._client = client
        self._consumer = consumer
        self._stream, self._group = terms.stream, terms.group
        self._under_way: set[bytes] = set()
        self._own_from: Id | None = ZERO
        self._claim_from = ZERO
        self._claims_at = 0.0
        self._delivered = ZERO
        self._known = Loss("", 0)
        self._told = ZERO
        self._said = ""
        self._told_offset: str | None = None
        self._may_take = asyncio.Event()
        """Once a loss before this connection is told and seen to: after a reading, some servers know no more of it."""
        self._is_cut_off = self._must_reread = False

    async def begin(self, stored: str | None) -> None:
        """See to it that there is a group, and what has become of the stream since the stored offset."""
        try:
            await self._begin(stored)
        except DRIVER_ERRORS as error:
            raise self._terms.unavailable(error) from error
        if not self._terms.untold:
            self._may_take.set()

    async def _begin(self, stored: str | None) -> None:
        offset = None if stored is None else offset_of(stored)
        if stored is not None and offset is None:
            self._lost("the stored offset cannot be read")
        if offset is not None:
            self._known = Loss("", offset.n_lost)
        stream = await self._extent()
        if stream is None:
            if stored is not None:
                self._lost("the stream is gone")
            await self._make_group(ZERO, 0)
            return
        group = _group_of(await self._client.execute_command("XINFO", "GROUPS", self._stream), self._group)
        if offset is not None and (group is None or stream.last < offset.id) and (gap := loss_since(stream, offset.id)):
            self._lost(gap)
        if group is None:
            await self._make_group(*self._place(stream, None if offset is None else offset.id))
        else:
            self._look(stream, group)

    def _place(self, stream: Extent, offset: Id | None) -> tuple[Id, int | None]:
        """Where a new group begins, and how many entries were added up to there, None when nobody can know."""
        if offset is None and not self._terms.starts_at_all:
            return stream.last, stream.n_added
        at = ZERO if offset is None or stream.last < offset else offset
        is_before_all = stream.first is None or stream.first > at
        return at, stream.n_added - stream.length if is_before_all else None

    async def _make_group(self, at: Id, n_read: int | None) -> None:
        read = () if n_read is None else ("ENTRIESREAD", n_read)
        try:
            await self._client.execute_command(
                "XGROUP", "CREATE", self._stream, self._group, str(at), "MKSTREAM", *read
            )
        except exceptions.ResponseError as error:
            # Another consumer made it in the meantime.
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _extent(self) -> Extent | None:
        try:
            told = await self._client.execute_command("XINFO", "STREAM", self._stream)
        except exceptions.ResponseError as error:
            if "no such key" in str(error):
                return None
            raise
        try:
            return extent_of(told)
        except KeyError:
            raise SourceUnavailable(f"{self._terms.address}: Redis 7 or Valkey is needed, and this is older.") from None

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        """What has come; see `Stream.fetch`."""
        if not self._may_take.is_set():
            return await self._only_gap(wait_s)
        ends_at = time.monotonic() + wait_s
        try:
            while True:
                batch = self._with_news(await self._taken(n_max))
                left_s = ends_at - time.monotonic()
                if batch.messages or batch.gap or batch.offset is not None or left_s <= 0:
                    return batch
                await self._wait(min(left_s, _BLOCK_S))
        except DRIVER_ERRORS as error:
            raise self._terms.unavailable(error) from error

    def _with_news(self, batch: Batch) -> Batch:
        """The same; who is idle need not write the same offset again and again."""
        offset = batch.offset
        if not batch.messages and not batch.gap and offset == self._told_offset:
            batch.offset = None
        else:
            self._told_offset = offset
        return batch

    async def _only_gap(self, wait_s: float) -> Batch:
        gap = self._gap()
        if not gap:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._may_take.wait(), wait_s)
        return Batch(gap=gap)

    async def _taken(self, n_max: int) -> Batch:
        if self._is_cut_off or self._must_reread:
            self._own_from, self._is_cut_off, self._must_reread = ZERO, False, False
        while self._own_from is not None:
            batch, is_empty = await self._own(n_max, self._own_from)
            if batch.messages or batch.gap:
                return batch
            if is_empty:
                self._own_from = None
        if time.monotonic() >= self._claims_at:
            batch = await self._left_by_others(n_max)
            if batch.messages or batch.gap:
                return batch
        command = self._reading(n_max, ">")
        return self._batch(*await self._take(command))

    async def _own(self, n_max: int, after: Id) -> tuple[Batch, bool]:
        """What is pending here and not under way, and whether nothing is pending after that place."""
        taken = await self._take(self._reading(n_max, str(after)))
        entries = list(taken[0])
        if entries:
            self._own_from = id_of(entries[-1][0])
        gone = [entry_id for entry_id, entry in entries if not entry and entry_id not in self._under_way]
        if gone:
            self._lost(f"{len(gone)} entries were deleted before they were applied")
        batch = self._batch(entries, *taken[1:])
        # They come to nothing, and are told of until somebody has seen to it.
        batch.tags += gone
        return batch, not entries

    async def _left_by_others(self, n_max: int) -> Batch:
        idle_ms = int(self._terms.claim_after_s * 1_000)
        command = ("XAUTOCLAIM", self._stream, self._group, self._consumer, idle_ms)
        taken = await self._take((*command, str(self._claim_from), "COUNT", n_max))
        upto, entries, gone = taken[0]
        self._claim_from = id_of(upto)
        if self._claim_from == ZERO:
            self._claims_at = time.monotonic() + self._terms.claim_after_s / _CLAIMS_WITHIN
        if gone:
            self._lost(f"{len(gone)} entries were trimmed before they were applied")
        return self._batch(entries, *taken[1:])

    def _reading(self, n_max: int, after: str) -> tuple[Any, ...]:
        reading = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", n_max)
        return (*reading, "STREAMS", self._stream, after)

    async def _take(self, command: tuple[Any, ...]) -> tuple[Any, str, int | None]:
        """Entries that are ours from now on, the offset, and how many wait behind them."""
        # Until it has come so far they may be ours without our knowing.
        self._is_cut_off = True
        async with self._client.pipeline(transaction=True) as steps:
            steps.execute_command("XINFO", "STREAM", self._stream)
            steps.execute_command("XINFO", "GROUPS", self._stream)
            steps.execute_command(*command)
            steps.execute_command("XPENDING", self._stream, self._group)
            # By itself it would put words of its own before the server's.
            replies = await steps.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        told_stream, told_groups, taken, pending = replies
        self._is_cut_off = False
        stream, group = extent_of(told_stream), _group_of(told_groups, self._group)
        if group is None:
            raise exceptions.ResponseError("NOGROUP")
        self._look(stream, group)
        self._delivered = progress_of(group).delivered
        least = id_of(pending["min"]) if pending["pending"] else None
        offset = offset_now(progress_of(group), least, self._known.n_lost)
        lag = group[b"lag"]
        if command[0] == "XREADGROUP":
            taken = of_stream(taken, self._stream)
            if lag is not None and command[-1] == ">":
                lag -= len(taken)
        return taken, str(offset), None if lag is None else max(0, lag - self._known.n_lost)

    def _look(self, stream: Extent, group: Mapping[bytes, Any]) -> None:
        self._known = loss_of(stream, progress_of(group), self._known, self._told)
        if self._known.gap:
            self._told = stream.deleted
            self._lost(self._known.gap)

    def _lost(self, why: str) -> None:
        untold = self._terms.untold
        if why not in untold:
            self._terms.untold = f"{untold}; {why}" if untold else f"stream {self._stream}: {why}"

    def _gap(self) -> str:
        """What is to be told, once by this connection."""
        untold = self._terms.untold
        if untold == self._said:
            return ""
        self._said = untold
        return untold

    def _batch(self, entries: Entries, offset: str, lag: int | None) -> Batch:
        fresh = [(entry_id, entry) for entry_id, entry in entries if entry and entry_id not in self._under_way]
        ids = [entry_id for entry_id, _ in fresh]
        self._under_way.update(ids)
        message_of = self._terms.fields.message_of
        messages = [message_of(self._stream, entry_id.decode(), entry) for entry_id, entry in fresh]
        return Batch(messages=messages, offset=offset, gap=self._gap(), lag=lag, tags=ids)

    async def _wait(self, wait_s: float) -> None:
        wait_ms = max(1, int(wait_s * 1_000))
        await self._client.execute_command(
            "XREAD", "BLOCK", wait_ms, "COUNT", 1, "STREAMS", self._stream, str(self._delivered)
        )

    async def acknowledge(self, batch: Batch) -> None:
        """They need not come again; see `Stream.acknowledge`."""
        ids: Sequence[bytes] = batch.tags or ()
        try:
            if ids:
                await self._client.execute_command("XACK", self._stream, self._group, *ids)
        except DRIVER_ERRORS as error:
            self._must_reread = True
            raise self._terms.unavailable(error) from error
        finally:
            self._under_way.difference_update(ids)
        if batch.gap and batch.gap == self._terms.untold:
            self._terms.untold = self._said = ""
            self._may_take.set()

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - the stream brings all of them
        """Nothing to do: all of the stream comes."""
        return ()

    async def send(self, message: Message) -> None:
        """Add it to the stream; see `Stream.send`."""
        entry = self._terms.fields.entry_of(message)
        fields = [part for field in entry.items() for part in field]
        try:
            await self._client.execute_command("XADD", self._stream, "*", *fields)
        except DRIVER_ERRORS as error:
            raise self._terms.unavailable(error) from error

    async def leave(self) -> None:
        """Forget this consumer's name in the group, and those of the long dead, where nothing pends at them."""
        idle_ms = int(self._terms.claim_after_s * 1_000 * _FORGET_AFTER)
        with suppress(*DRIVER_ERRORS):
            await self._client.execute_command("EVAL", _FORGET, 1, self._stream, self._group, self._consumer, idle_ms)


def _group_of(told: Iterable[Mapping[bytes, Any]], name: str) -> Mapping[bytes, Any] | None:
    return next((group for group in told if group[b"name"] == name.encode()), None)


def of_stream(told: Any, stream: str) -> Any:  # noqa: ANN401 - an untyped driver
    """The entries that XREAD or XREADGROUP told; none is None."""
    return told[stream.encode()] if told else ()
