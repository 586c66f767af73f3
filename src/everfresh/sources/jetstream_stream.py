"""One process's share of a durable pull consumer of JetStream.

- Messages are asked for and come when they come; what has come while nobody fetched is there for the next fetch. A
  request has a heartbeat, so a server that is silent is told from a stream that is quiet.
- Each message is acknowledged by itself: to acknowledge all up to one would acknowledge what other processes hold. The
  last of a batch asks the server for an answer, as only then the others have arrived too.
- What is held for long is told to the server to be in progress, or it would give it to another as well.
- Who ends in order gives back what it holds, so that others get it at once and not only after the acknowledgement wait.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api
from nats.js.errors import NotFoundError

from everfresh.model.message import Message
from everfresh.sources.addresses import told
from everfresh.sources.jetstream_places import (
    ALL_SUBJECTS,
    Extent,
    Followed,
    Place,
    Progress,
    floor_of,
    place_of,
    was_made_anew,
)
from everfresh.sources.jetstream_terms import Terms
from everfresh.sources.jetstream_wire import (
    ID,
    chosen_by,
    extent_of,
    goes_by_acknowledgement,
    message_of,
    n_gone,
    number_of,
    problem_of,
    progress_of,
    skips,
    time_of,
)
from everfresh.sources.source import Batch, SourceUnavailable

DRIVER_ERRORS = (nats.errors.Error, asyncio.TimeoutError, OSError, ValueError)

_NS = 1_000_000_000
_ANSWER_S = 5.0
# What is not given back by then goes to others later.
_FAREWELL_S = 2.0
_ASKED_FOR_S = 10.0
_HEARTBEAT_S = 1.0
# Of waiting without a message and a heartbeat.
_SILENT_S = 4.0
# A few small questions to the server. What is acknowledged after the last look comes again if the consumer is lost.
_LOOK_EVERY_S = 0.25
# So many more for each so many messages that are missing within the stream, as all their numbers may have to be told.
_LOOK_LESS_PER = 10_000
_LOOK_AT_LEAST_EVERY_S = 5.0
_STATUS_OVER = frozenset({"404", "408"})


class OpenJetStream:
    """One process's share of the consumer; see `Stream`."""

    def __init__(self, terms: Terms, client: Client, said: list[str]) -> None:
        self._terms = terms
        self._client = client
        self._said = said
        # Its types are partly unknown.
        self._context: Any = cast("Any", client).jetstream(domain=terms.domain, timeout=_ANSWER_S)
        self._prefix = f"$JS.{terms.domain}.API" if terms.domain else "$JS.API"
        self._inbox = client.new_inbox()
        self._come: deque[Msg] = deque()
        self._is_news = asyncio.Event()
        self._n_asked = 0
        self._asked_at = 0.0
        self._heard_at = 0.0
        self._trouble = ""
        self._under_way: dict[int, Msg] = {}
        self._followed = Followed()
        self._goes_by_acknowledgement = False
        self._n_gone: int | None = None
        self._n_holes = 0
        self._made_at = ("", "")
        self._subjects = ALL_SUBJECTS
        self._gap = ""
        self._n_waiting: int | None = None
        self._looks_at = 0.0
        self._last_offset = ""
        self._listening: Subscription | None = None
        self._tending: asyncio.Task[None] | None = None

    async def begin(self, stored: str | None) -> None:
        """See to it that there is a consumer, and what has become of the stream since the stored place."""
        try:
            await self._begin(stored)
            self._listening = await cast("Any", self._client).subscribe(
                self._inbox, cb=self._on_message, pending_msgs_limit=-1
            )
        except DRIVER_ERRORS as error:
            raise self._unavailable(error) from error
        self._tending = asyncio.create_task(self._tend())

    async def end(self) -> None:
        """Tend nothing any more; where the server is still there, others get at once what is held here."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)
        with suppress(*DRIVER_ERRORS):
            if self._terms.is_tap:
                await self._context.delete_consumer(self._terms.stream, self._terms.durable)
            elif self._listening is not None and self._client.is_connected and not self._trouble:
                async with asyncio.timeout(_FAREWELL_S):
                    await self._give_back(self._listening)

    async def _give_back(self, listening: Subscription) -> None:
        # An open request would have the server send to nobody. What it sends until it knows still comes here.
        await cast("Any", listening).drain()
        # A server of 2.9 that still has a request of nobody mislays the first message that is given back, until the
        # acknowledgement wait is over. Who asks for the consumer has it forget such requests.
        await self._context.consumer_info(self._terms.stream, self._terms.durable)
        if self._goes_by_acknowledgement:
            # What is given is all that is known of losses there. Given once more right now, it would make up for as
            # many that were lost while nobody was here; see `places`.
            return
        for message in self._held().values():
            await self._client.publish(message.reply, b"-NAK")
        await self._client.flush()

    def _held(self) -> dict[int, Msg]:
        """What is under way and what has come, by its number in the stream, as it was given last."""
        return self._under_way | {number_of(come): come for come in self._come}

    async def _begin(self, stored: str | None) -> None:
        place = None if stored is None else place_of(stored)
        if stored is not None and place is None:
            self._gap = f"stream {self._terms.stream}: the stored offset cannot be read"
        extent, created, consumer = await self._seen()
        made_anew = place is not None and was_made_anew(place, created, extent.last)
        is_known = place is not None and consumer is not None and place.consumer == time_of(consumer.created)
        if made_anew:
            self._lost("it was made anew, or lost its newest messages")
        if place is None:
            self._followed = Followed(self._first_floor(extent, consumer))
            # Told by that already.
            self._followed.losses(extent, None, ())
        else:
            self._followed = Followed(0 if made_anew else place.seq, place.n_skipped if is_known else None)
            self._look_for_loss(extent, None if consumer is None else progress_of(consumer))
        if consumer is None:
            consumer = await self._made(None if place is None else 0 if made_anew else place.seq)
        elif place is not None and not made_anew and not is_known and skips(consumer, place.seq):
            self._lost(f"the consumer {self._terms.durable} was made anew by somebody, and begins later")
        self._subjects = ",".join(sorted(chosen_by(consumer.config)))
        if place is not None and place.subjects != self._subjects:
            self._lost(f"until now the subjects {place.subjects} were chosen")
        self._made_at = (created, time_of(consumer.created))

    def _first_floor(self, extent: Extent, consumer: api.ConsumerInfo | None) -> int:
        """Where it begins with nothing stored."""
        comes_all = consumer is None and self._terms.starts_at_all
        if not (self._terms.is_tap or self._gap or (comes_all and not self._n_gone)):
            # What depends on them may have been built before.
            self._lost("nobody has followed it until now, and there may have been earlier messages")
        if consumer is None:
            return extent.first - 1 if comes_all else extent.last
        return max(extent.first - 1, progress_of(consumer).floor)

    async def _seen(self) -> tuple[Extent, str, api.ConsumerInfo | None]:
        """The stream, when it was made, and the consumer.

        What goes while this asks must not be taken for read: so the stream's end is asked for before the consumer, and
        after it what is gone. Where messages go as they are acknowledged, that would be taken for lost.
        """
        before = await self._stream()
        consumer = await self._consumer()
        self._goes_by_acknowledgement = goes_by_acknowledgement(before)
        if self._goes_by_acknowledgement:
            self._n_gone = n_gone(before)
            return extent_of(before, before), time_of(before.created), consumer
        after = await self._stream()
        if after.created != before.created:
            raise SourceUnavailable(f"{self._terms.place}: the stream {self._terms.stream} was made anew.")
        holes: Sequence[int] = ()
        self._n_holes = after.state.num_deleted or 0
        if self._n_holes and n_gone(after) != self._n_gone and after.state.last_seq > self._followed.floor:
            holes = await self._holes()
        self._n_gone = n_gone(after)
        return extent_of(before, after, holes), time_of(before.created), consumer

    async def _holes(self) -> Sequence[int]:
        """The numbers within the stream that have no message."""
        subject = f"{self._prefix}.STREAM.INFO.{self._terms.stream}"
        answer = await self._client.request(subject, b'{"deleted_details":true}', timeout=_ANSWER_S)
        said = json.loads(answer.data)
        if "state" not in said:
            raise SourceUnavailable(f"{self._terms.place}: {said.get('error')}.")
        holes: list[int] = said["state"].get("deleted") or []
        return holes

    async def _stream(self) -> api.StreamInfo:
        try:
            found: api.StreamInfo = await self._context.stream_info(self._terms.stream)
        except NotFoundError:
            where = f" in the domain {self._terms.domain}" if self._terms.domain else ""
            raise SourceUnavailable(
                f"{self._terms.place}: there is no stream {self._terms.stream}{where}. Make it: nats stream add."
            ) from None
        return found

    async def _consumer(self) -> api.ConsumerInfo | None:
        try:
            consumer: api.ConsumerInfo = await self._context.consumer_info(self._terms.stream, self._terms.durable)
        except NotFoundError:
            return None
        problem = "" if self._terms.is_tap else problem_of(consumer.config, self._terms.subjects)
        if problem:
            raise SourceUnavailable(f"{self._terms.place}: the consumer {self._terms.durable} {problem}.")
        return consumer

    async def _made(self, floor: int | None) -> api.ConsumerInfo:
        subjects = self._terms.subjects
        made: api.ConsumerInfo = await self._context.add_consumer(self._terms.stream, self._terms.consumer(floor))
        if len(subjects) > 1 and set(made.config.filter_subjects or ()) != set(subjects):
            # Up to NATS 2.9 the choice is passed over, and more comes than was asked for.
            await self._context.delete_consumer(self._terms.stream, self._terms.durable)
            raise SourceUnavailable(f"{self._terms.place}: several subjects need NATS 2.10. Name one, or none.")
        return made

    async def _on_message(self, message: Msg) -> None:
        self._heard_at = time.monotonic()
        status = (message.headers or {}).get("Status") if not message.reply else None
        if status is None:
            self._come.append(message)
            self._n_asked -= 1
        elif status in _STATUS_OVER:
            self._n_asked = 0
        elif status != "100":
            said = (message.headers or {}).get("Description") or "nobody answers for the consumer"
            self._trouble = f"{status} {said}"
        self._is_news.set()

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        """What has come; see `Stream.fetch`."""
        ends_at = time.monotonic() + wait_s
        silent_since = time.monotonic()
        try:
            while True:
                self._check()
                if not self._come:
                    await self._ask(n_max)
                if time.monotonic() >= self._looks_at:
                    await self._look()
                left_s = ends_at - time.monotonic()
                if self._come or self._gap or left_s <= 0:
                    return self._batch(n_max)
                self._is_news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, _HEARTBEAT_S)):
                        await self._is_news.wait()
                self._note_silence(silent_since)
        except DRIVER_ERRORS as error:
            raise self._unavailable(error) from error

    def _check(self) -> None:
        if self._trouble:
            raise SourceUnavailable(f"{self._terms.place}: {self._trouble}.")
        if not self._client.is_connected:
            why = self._said[0] if self._said else "the server ended it"
            raise SourceUnavailable(f"{self._terms.place}: the connection broke ({why}).")

    def _note_silence(self, since: float) -> None:
        """A request is open, and should have been answered by a heartbeat at least."""
        now = time.monotonic()
        if self._n_asked > 0 and now - max(since, self._heard_at, self._asked_at) > _SILENT_S:
            self._trouble = "no heartbeat"
            self._check()

    async def _ask(self, n_max: int) -> None:
        now = time.monotonic()
        if self._n_asked > 0 and now < self._asked_at + _ASKED_FOR_S + _HEARTBEAT_S:
            return
        self._n_asked, self._asked_at = n_max, now
        wish = {"batch": n_max, "expires": int(_ASKED_FOR_S * _NS), "idle_heartbeat": int(_HEARTBEAT_S * _NS)}
        subject = f"{self._prefix}.CONSUMER.MSG.NEXT.{self._terms.stream}.{self._terms.durable}"
        await self._client.publish(subject, json.dumps(wish).encode(), reply=self._inbox)

    async def _look(self) -> None:
        """How far the consumer is, and whether something went that it had not read."""
        extent, created, consumer = await self._seen()
        if consumer is None or (created, time_of(consumer.created)) != self._made_at or self._is_changed(consumer):
            raise SourceUnavailable(f"{self._terms.place}: the stream or its consumer was made anew.")
        progress = progress_of(consumer)
        self._look_for_loss(extent, progress)
        self._followed.moved_to(floor_of(extent, progress))
        self._n_waiting = progress.n_waiting
        less_often = 1 + self._n_holes / _LOOK_LESS_PER
        self._looks_at = time.monotonic() + min(_LOOK_EVERY_S * less_often, _LOOK_AT_LEAST_EVERY_S)

    def _is_changed(self, consumer: api.ConsumerInfo) -> bool:
        return self._subjects != ",".join(sorted(chosen_by(consumer.config)))

    def _look_for_loss(self, stream: Extent, consumer: Progress | None) -> None:
        for loss in self._followed.losses(stream, consumer, self._held().keys()):
            self._lost(loss)

    def _lost(self, why: str) -> None:
        self._gap = f"{self._gap}; {why}" if self._gap else f"stream {self._terms.stream}: {why}"

    def _batch(self, n_max: int) -> Batch:
        messages: list[Message] = []
        numbers: list[int] = []
        while self._come and len(messages) < n_max:
            come = self._come.popleft()
            number = number_of(come)
            if number not in self._under_way:
                numbers.append(number)
                messages.append(message_of(self._terms.stream, number, come))
            # One that is given again wants its last giving acknowledged.
            self._under_way[number] = come
        gap, self._gap = self._gap, ""
        followed = self._followed
        offset = str(Place(followed.floor, *self._made_at, followed.n_skipped or 0, self._subjects))
        # Who is idle need not write the same again and again.
        is_news, self._last_offset = bool(numbers) or offset != self._last_offset, offset
        lag = None if self._n_waiting is None else self._n_waiting + len(self._come)
        return Batch(messages=messages, offset=offset if is_news else None, gap=gap, lag=lag, tags=numbers)

    async def acknowledge(self, batch: Batch) -> None:
        """They need not come again; see `Stream.acknowledge`."""
        numbers: Sequence[int] = batch.tags or ()
        if self._terms.is_tap:
            self._under_way.clear()
            return
        held = [self._under_way[number] for number in numbers if number in self._under_way]
        self._followed.acknowledged(numbers)
        try:
            for message in held[:-1]:
                await self._client.publish(message.reply, b"+ACK")
            if held:
                # Once the last is answered, the others have come before it.
                await self._client.request(held[-1].reply, b"+ACK", timeout=_ANSWER_S)
        except DRIVER_ERRORS as error:
            raise self._unavailable(error) from error
        for number in numbers:
            self._under_way.pop(number, None)

    async def _tend(self) -> None:
        """Say of what is held that it is in progress."""
        while not self._terms.is_tap:
            await asyncio.sleep(self._terms.ack_wait_s / 3)
            with suppress(*DRIVER_ERRORS):
                for message in self._held().values():
                    await self._client.publish(message.reply, b"+WPI")

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:  # noqa: ARG002 - the consumer's subjects stay
        """Nothing to do: the consumer's subjects are chosen by people."""
        return ()

    async def send(self, message: Message) -> None:
        """Publish it into the stream; see `Stream.send`."""
        headers = {**message.headers, **({ID: message.id} if message.id else {})}
        try:
            await self._context.publish(
                message.topic, message.body, timeout=_ANSWER_S, stream=self._terms.stream, headers=headers or None
            )
        except DRIVER_ERRORS as error:
            raise SourceUnavailable(
                f"{self._terms.place}: the stream {self._terms.stream} did not take a message with the subject "
                f"{message.topic}. Add that to its subjects, and to this user's rights ({told(error)})."
            ) from error

    def _unavailable(self, error: BaseException) -> SourceUnavailable:
        if isinstance(error, asyncio.TimeoutError):
            why = self._said[-1] if self._said else "no answer in time"
        else:
            why = told(error)
        # Nothing more is awaited of it.
        self._trouble = self._trouble or why
        return SourceUnavailable(f"stream {self._terms.stream} at {self._terms.place}: {why}.")
