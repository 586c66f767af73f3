"""One consumer of the group of a Redis stream.

Consumers share a group; the group, and not we, knows who was given what. What the server promises is used, and what it
does not tell is looked for:

- An entry that was given and not acknowledged stays pending. At each opening a consumer reads its own first, now and
  then those that others have left, as their processes ended or died.
- Reading goes with a look at the stream and the group, in one step of the server, so nothing is trimmed between. What
  the reading would hide, it marks; see `redis_stream_steps`.
- A loss that is told stays to be found until its batch was acknowledged, by marks, by what is pending, by the offset.
- Waiting is an XREAD, which takes nothing: a wait that is cut off loses nothing. After a reading that was cut off, all
  that is pending at this consumer is read again, but for what it knows to be under way.
- The stored offset says up to where all is acknowledged. It is needed when the group is gone.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis import exceptions

from everfresh.model.message import Message
from everfresh.sources.redis_stream_entries import Entry
from everfresh.sources.redis_stream_places import (
    ZERO,
    Extent,
    Id,
    Loss,
    Offset,
    Progress,
    extent_of,
    id_of,
    loss_of,
    loss_since,
    offset_now,
    offset_of,
    progress_of,
)
from everfresh.sources.redis_stream_steps import (
    LEAVE,
    MARK,
    READ,
    TAKE_OVER,
    Step,
    entries_of,
    marks_in,
    step_of,
)
from everfresh.sources.redis_stream_terms import Terms
from everfresh.sources.source import Batch, SourceUnavailable
from everfresh.stores.redis.failures import DRIVER_ERRORS

# The driver gives up after two seconds of silence.
_BLOCK_S = 1.0
# A consumer without pending entries is only a name; whoever comes back to it makes it anew.
_FORGET_AFTER = 10
_CLAIMS_WITHIN = 4
# Twice what a consumer holds; the rest of a long story goes to others after `claim_after`.
_GIVE_BACK_MAX = 2_000
_NEVER_FOLLOWED = "nothing is stored of how far it was followed"

Entries = Iterable[tuple[bytes, Entry]]


class _Tags(NamedTuple):
    """What to acknowledge, and which loss the batch tells of, 0 for none."""

    ids: Sequence[bytes]
    n_told: int


class OpenRedisStream:
    """One consumer of the group; see `Stream`."""

    def __init__(self, terms: Terms, client: Any, consumer: str) -> None:  # noqa: ANN401 - an untyped driver
        self._terms = terms
        self._client = client
        self._consumer = consumer
        self._stream, self._group = terms.stream, terms.group
        self._under_way: set[bytes] = set()
        self._own_from: Id | None = ZERO
        self._claim_from = "-"
        self._claims_at = 0.0
        self._delivered = ZERO
        self._known = Loss("", 0)
        self._told = ZERO
        self._seen: tuple[int, Id] = (0, ZERO)
        """How many entries had gone at the last look that was judged, and the highest deleted one."""
        self._n_losses = 0
        self._n_told = 0
        self._mark = _new_mark()
        self._marks: set[str] = set()
        self._offset: str | None = None
        self._told_offset: str | None = None
        self._may_take = asyncio.Event()
        """Once a loss before this connection is told and seen to: after a reading, some servers know no more of it."""
        self._is_cut_off = self._must_reread = False

    async def begin(self, stored: str | None) -> None:
        """See to it that there is a group, and what has become of the stream since the stored offset."""
        # What an earlier connection did not see settled is found once more.
        self._terms.untold = ""
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
        stream = await self._extent()
        if stream is None:
            if stored is not None:
                self._lost("the stream is gone")
            elif not self._terms.starts_at_all:
                self._lost(_NEVER_FOLLOWED)
            await self._make_group(ZERO, 0)
            return
        group = _group_of(await self._client.execute_command("XINFO", "GROUPS", self._stream), self._group)
        if stored is None and (group is not None or not self._terms.starts_at_all or stream.n_added > stream.length):
            self._lost(_NEVER_FOLLOWED)
        if group is None:
            if offset is not None and (gap := loss_since(stream, offset.id)):
                self._lost(gap)
            await self._make_group(*self._place(stream, None if offset is None else offset.id))
        else:
            await self._join(stream, progress_of(group), offset)

    async def _join(self, stream: Extent, group: Progress, offset: Offset | None) -> None:
        """See what was lost of what a group that is there was to be given."""
        if offset is not None:
            self._known = Loss("", offset.n_lost)
            if stream.last < offset.id and (gap := loss_since(stream, offset.id)):
                self._lost(gap)
            elif group.delivered < offset.id:
                self._lost(f"the group stands at {group.delivered}, before {offset.id}: it was put back")
        self._judge(stream, group)
        await self._find_marks(0)
        if self._terms.untold:
            pending = await self._client.execute_command("XPENDING", self._stream, self._group)
            least = id_of(pending["min"]) if pending["pending"] else None
            self._offset = str(offset_now(group, least, self._known.n_lost))

    def _place(self, stream: Extent, offset: Id | None) -> tuple[Id, int | None]:
        """Where a new group begins, and how many entries were added up to there, None when nobody can know."""
        if offset is None and not self._terms.starts_at_all:
            return stream.last, stream.n_added
        at = ZERO if offset is None or stream.last < offset else offset
        is_before_all = stream.first is None or stream.first > at
        return at, stream.n_added - stream.length if is_before_all else None

    async def _make_group(self, at: Id, n_read: int | None) -> None:
        """Make the group, and with it, when there is a loss to tell, the mark of it."""
        read = () if n_read is None else ("ENTRIESREAD", n_read)
        self._offset = str(at)
        async with self._client.pipeline(transaction=True) as steps:
            steps.execute_command("XGROUP", "CREATE", self._stream, self._group, str(at), "MKSTREAM", *read)
            if self._terms.untold:
                steps.execute_command("XGROUP", "CREATECONSUMER", self._stream, self._group, self._mark)
                self._marks.add(self._mark)
                self._mark = _new_mark()
            replies = await steps.execute(raise_on_error=False)
        for reply in replies:
            # Another consumer made it in the meantime.
            if isinstance(reply, Exception) and not str(reply).startswith("BUSYGROUP"):
                raise reply

    async def _find_marks(self, idle_ms: int) -> None:
        """Tell of what others told and did not live to see settled, or this one before it was cut off."""
        consumers = await self._client.execute_command("XINFO", "CONSUMERS", self._stream, self._group)
        if marks := marks_in(consumers, idle_ms) - self._marks:
            self._marks |= marks
            self._lost("a loss was found before, and nobody has seen to it")

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
                async with asyncio.timeout(wait_s):
                    await self._may_take.wait()
            return Batch()
        self._told_offset = self._offset
        return Batch(gap=gap, offset=self._offset, tags=_Tags((), self._n_told))

    async def _taken(self, n_max: int) -> Batch:
        if self._is_cut_off or self._must_reread:
            await self._find_marks(0)
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
        return await self._news(n_max)

    async def _own(self, n_max: int, after: Id) -> tuple[Batch, bool]:
        """What is pending here and not under way, and whether nothing is pending after that place."""
        step = await self._take(READ, n_max, str(after))
        entries = entries_of(step.taken)
        if entries:
            self._own_from = id_of(entries[-1][0])
        gone = [entry_id for entry_id, entry in entries if not entry]
        return self._batch(step, entries, gone, "deleted"), not entries

    async def _left_by_others(self, n_max: int) -> Batch:
        idle_ms = int(self._terms.claim_after_s * 1_000)
        step = await self._take(TAKE_OVER, n_max, idle_ms, self._claim_from)
        taken, gone, last = step.taken
        self._claim_from = "-" if last is None else f"({last.decode()}"
        if last is None:
            self._claims_at = time.monotonic() + self._terms.claim_after_s / _CLAIMS_WITHIN
            await self._find_marks(idle_ms)
        return self._batch(step, entries_of(taken), gone, "trimmed")

    async def _news(self, n_max: int) -> Batch:
        n_gone, deleted = self._seen
        step = await self._take(READ, n_max, ">", n_gone, str(deleted), str(self._delivered), self._mark)
        if step.is_whole:
            found = loss_of(step.stream, step.group, self._known, self._told)
            self._known = Loss("", found.n_lost)
        else:
            # Who takes this one away must not take that of the next loss with it.
            self._marks.add(self._mark)
            self._mark = _new_mark()
            self._judge(step.stream, step.group)
            if not self._terms.untold:
                await self._unmark()
        self._delivered = step.group.delivered
        entries = entries_of(step.taken)
        lag = None if step.lag is None else max(0, step.lag - len(entries))
        return self._batch(step._replace(lag=lag), entries)

    async def _take(self, script: str, n_max: int, *args: int | str) -> Step:
        """Entries that are ours from now on, and how the stream and the group were before."""
        # Until it has come so far they may be ours without our knowing.
        self._is_cut_off = True
        told = await self._client.execute_command(
            "EVAL", script, 1, self._stream, self._group, self._consumer, n_max, *args
        )
        self._is_cut_off = False
        return step_of(told)

    def _judge(self, stream: Extent, group: Progress) -> None:
        """Find out what was lost up to this look."""
        if group.delivered < self._delivered:
            self._lost(f"the group was put back to {group.delivered}")
        self._known = loss_of(stream, group, self._known, self._told)
        if self._known.gap:
            self._told = stream.deleted
            self._lost(self._known.gap)
        self._seen = (stream.n_added - stream.length, stream.deleted)
        self._delivered = group.delivered

    def _lost(self, why: str) -> None:
        self._n_losses += 1
        untold = self._terms.untold
        if why not in untold:
            self._terms.untold = f"{untold}; {why}" if untold else f"stream {self._stream}: {why}"

    def _gap(self) -> str:
        """What is to be told, once by this connection."""
        if self._n_losses == self._n_told:
            return ""
        self._n_told = self._n_losses
        return self._terms.untold

    def _batch(self, step: Step, entries: Entries, gone: Iterable[bytes] = (), how: str = "") -> Batch:
        """What is not under way yet; those that are gone stay pending until somebody has seen to it."""
        lost = [entry_id for entry_id in gone if entry_id not in self._under_way]
        if lost:
            self._lost(f"{len(lost)} entries were {how} before they were applied")
        fresh = [(entry_id, entry) for entry_id, entry in entries if entry and entry_id not in self._under_way]
        ids = [*(entry_id for entry_id, _ in fresh), *lost]
        self._under_way.update(ids)
        message_of = self._terms.fields.message_of
        gap = self._gap()
        return Batch(
            messages=[message_of(self._stream, entry_id.decode(), entry) for entry_id, entry in fresh],
            offset=str(offset_now(step.group, step.least_pending, self._known.n_lost)),
            gap=gap,
            lag=None if step.lag is None else max(0, step.lag - self._known.n_lost),
            tags=_Tags(ids, self._n_told if gap else 0),
        )

    async def _wait(self, wait_s: float) -> None:
        wait_ms = max(1, int(wait_s * 1_000))
        await self._client.execute_command(
            "XREAD", "BLOCK", wait_ms, "COUNT", 1, "STREAMS", self._stream, str(self._delivered)
        )

    async def acknowledge(self, batch: Batch) -> None:
        """They need not come again; see `Stream.acknowledge`."""
        ids, n_told = batch.tags or _Tags((), 0)
        try:
            if ids:
                await self._client.execute_command("XACK", self._stream, self._group, *ids)
            if n_told and n_told == self._n_losses:
                await self._unmark()
        except DRIVER_ERRORS as error:
            self._must_reread = True
            raise self._terms.unavailable(error) from error
        finally:
            self._under_way.difference_update(ids)
        # Another may have been found meanwhile, which a later batch tells.
        if n_told and n_told == self._n_losses:
            self._terms.untold = ""
            self._may_take.set()

    async def _unmark(self) -> None:
        marks = sorted(self._marks)
        for mark in marks:
            await self._client.execute_command("XGROUP", "DELCONSUMER", self._stream, self._group, mark)
        self._marks.difference_update(marks)

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
        """Let others take over what is pending here, and forget this name and the long dead where nothing is."""
        claim_ms = int(self._terms.claim_after_s * 1_000)
        asked = (self._group, self._consumer, claim_ms * _FORGET_AFTER, MARK, claim_ms, _GIVE_BACK_MAX)
        with suppress(*DRIVER_ERRORS):
            await self._client.execute_command("EVAL", LEAVE, 1, self._stream, *asked)


def _new_mark() -> str:
    return f"{MARK}{secrets.token_hex(4)}"


def _group_of(told: Iterable[Mapping[bytes, Any]], name: str) -> Mapping[bytes, Any] | None:
    return next((group for group in told if group[b"name"] == name.encode()), None)
