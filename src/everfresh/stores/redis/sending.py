"""Sending: what is made of a request before it goes to the server, and what every step is told."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from everfresh.model.clock import Clock
from everfresh.model.entry import Key
from everfresh.protocol.requests import Request
from everfresh.stores.redis import wire
from everfresh.stores.redis.clients import Reply
from everfresh.stores.redis.coldest import Knowing
from everfresh.stores.redis.deadlines import NEVER, ServerClock, time_of_refusal
from everfresh.stores.redis.driving import TIMEOUT_S
from everfresh.stores.redis.failures import Tries
from everfresh.stores.redis.repairing import is_damage
from everfresh.stores.redis.routing import AnyLoop
from everfresh.stores.redis.scripts import Script, script_of
from everfresh.stores.redis.slots import NOBODY, Slot, Slots
from everfresh.stores.tables import Room

_NOTHING_READ: Mapping[Key, float] = {}


class Sent:
    """One step on its way."""

    __slots__ = ("arguments", "asked_at", "is_repair", "last_reads", "request", "script", "slot", "tries")

    def __init__(self, request: Request[Any], last_reads: Mapping[Key, float], slot: Slot, tries: Tries) -> None:
        self.request = request
        self.last_reads = last_reads
        self.slot = slot
        self.tries = tries
        self.asked_at = 0.0
        self.is_repair = False
        self.script: Script
        self.arguments: tuple[bytes, ...] = ()

    def run_by(self, key: str, client: AnyLoop) -> Awaitable[Reply]:
        """Have the client run it as it is packed now: for another try, anew."""
        return client.run(self.script, key, self.arguments)


class Sender:
    """Makes of requests what is sent to one shard; `place` is the number of shards, and which one this is."""

    def __init__(self, clock: Clock | None, room: Room, retry_s: float, place: tuple[int, ...]) -> None:
        self._clock = clock
        self._room = room
        self._retry_s = retry_s
        self._place = place
        self._slots = Slots()
        # Names of lives have to differ, and nobody gains by guessing one. To ask the system for each step's costs more
        # than to encode it.
        self._names = random.Random(secrets.randbits(256))  # noqa: S311 - as above
        self.server_clock = ServerClock()
        """What it says."""

    def tries(self) -> Tries:
        """Those of one step."""
        return Tries(self._retry_s)

    def sent(self, request: Request[Any]) -> Sent:
        """The request as it is sent."""
        last_reads = _NOTHING_READ
        if isinstance(request, Knowing):
            last_reads, request = request.last_reads, request.request
        sent = Sent(request, last_reads, self._slots.take() if wire.mutates(request) else NOBODY, self.tries())
        sent.asked_at = now = time.monotonic()
        self._pack(sent, self.server_clock.not_after(max(sent.tries.ends_at, now + TIMEOUT_S)))
        return sent

    def ask_what_became_of(self, sent: Sent) -> None:
        """Have it say, when it is sent again, what it was answered; if it was not done it will never be."""
        self._pack(sent, NEVER)

    def note_answer(self, sent: Sent, told: float | None) -> None:
        """It was answered, by a server whose clock said that."""
        if sent.slot is NOBODY:
            return
        # One that was sent again may have been answered before.
        if told is not None and sent.tries.is_first:
            self.server_clock.note(sent.asked_at, told, time.monotonic())
        self._slots.give_back(sent.slot)

    def note_refusal(self, sent: Sent, error: Exception) -> bool:
        """If it was refused as being too late, have it be in time; whether it was."""
        told = time_of_refusal(error)
        if told is None:
            return False
        now = time.monotonic()
        self.server_clock.note(sent.asked_at, told, now)
        sent.asked_at = now
        self._pack(sent, self.server_clock.not_after(max(sent.tries.ends_at, now + TIMEOUT_S)))
        return True

    def note_damage(self, sent: Sent, error: Exception) -> bool:
        """If it met a key that is none of ours, have it remove that; whether that is worth a try."""
        if sent.is_repair or not is_damage(error):
            return False
        sent.is_repair = True
        self._pack(sent, self.server_clock.not_after(time.monotonic() + TIMEOUT_S))
        return True

    def head(
        self,
        slot: Slot,
        *,
        is_reading: bool,
        last_reads: Mapping[Key, float] = _NOTHING_READ,
        deadline: float | None = None,
        is_repair: bool = False,
    ) -> tuple[object, ...]:
        """What every script is told; in this order."""
        return (
            None if self._clock is None else self._clock(),
            slot.name,
            slot.serial,
            # The name of the store's life, should this step begin it.
            f"{self._names.getrandbits(64):016x}",
            self._room.max_entries,
            self._room.max_bytes,
            is_reading,
            last_reads or None,
            deadline,
            is_repair,
            *self._place,
        )

    def _pack(self, sent: Sent, deadline: float | None) -> None:
        is_reading = sent.slot is NOBODY
        if is_reading:
            deadline = None
        head = self.head(
            sent.slot, is_reading=is_reading, last_reads=sent.last_reads, deadline=deadline, is_repair=sent.is_repair
        )
        payload = wire.encode(sent.request, head)
        sent.script, sent.arguments = script_of(payload.script), (payload.packed, *payload.blobs)
