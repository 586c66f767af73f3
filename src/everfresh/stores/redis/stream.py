"""RedisStream: one follower's place in the feed, on a connection of its own.

    follow ──records──▶ told by who follows ──▶ follow (passes on how far, renews the lease) ──▶ ...
       └─none──▶ listen, at most a quarter of the lease ──records──▶ told early ──▶ listen a moment ──▶ follow
                                                                         ▲               │
                                                                         └────records────┘

To listen is a blocking read of the stream. What it brings is told at once, so that who refreshes can begin; but what
counts, `follow` gives with the position and the epoch, so that a flushed or replaced store is noticed at the next
renewal. Mostly a build follows an event within milliseconds, so word of it is listened for before it is asked what the
first word was worth.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from math import inf

from everfresh.model.entry import FeedRecord
from everfresh.model.errors import StoreClosed, StoreUnavailable
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from everfresh.stores.redis import wire
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.clients import CLOSED
from everfresh.stores.redis.early import GIVE_WAY_S, N_EARLY, early, last_of, untold
from everfresh.stores.redis.failures import DRIVER_ERRORS, described
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S, Follow
from everfresh.stores.redis.repairing import is_damage
from everfresh.stores.redis.routing import StoreClients
from everfresh.stores.redis.scripts import script_of
from everfresh.stores.store import FeedStream, News

# A renewal may fail, and the next still comes in time.
_LISTEN_S = SUBSCRIPTION_LEASE_S / 4
_MAX_RECORDS = 1_000
# Whether a sweep was left off, and whether the store is closed.
_LOOK_EVERY_S = 5.0
# After the first that was told early, whoever waits for all followers waits for at most so much.
_LONGEST_LISTENING_S = 5 * GIVE_WAY_S
# A refresh is done within it, mostly; after it there is time yet to hear of that early.
_PAUSE_AT_WORK_S = GIVE_WAY_S * 3 / 4
# Where much is told, at most a third of the time goes into telling; what comes meanwhile is told together.
_LONGEST_PAUSE_S = 0.01


class Place:
    """Where a follower stands in the feed, from one stream to the next.

    So that nothing told is told again, and that a server which has lost what was told is found out.
    """

    __slots__ = ("id", "is_damaged", "told")

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)
        self.told: Position | None = None
        # Whether it broke off at a key that is none of the store's.
        self.is_damaged = False

    def after(self) -> bytes:
        """The name in the stream of what was told last."""
        return name_of(self.told)


def name_of(place: Position | None) -> bytes:
    """The name in the stream of a record there."""
    return b"%d-0" % (0 if place is None else place.sequence)


class RedisStream(FeedStream):
    """Follows one shard's feed. `head` makes what scripts are told; `look` sees who answers, or says it is closed."""

    def __init__(
        self,
        address: Address,
        key: str,
        head: Callable[..., tuple[object, ...]],
        look: Callable[[], None],
        clients: StoreClients,
        place: Place,
    ) -> None:
        self._address = address
        self._key = key
        self._head = head
        self._look = look
        self._look_at = -inf
        self._identity = clients.identity
        self._client = clients.follower()
        self._place = place
        self._stream = f"{key[:-1]}x".encode()
        self._is_at_end = False
        self._closed = threading.Event()
        # Before it asks again.
        self._pause_s = 0.0
        self._current_until = -inf
        # Of what waits to be followed, how far was told, and how much.
        self._early: Position | None = None
        self._n_early = 0
        # Until then nothing is asked; and until when that can be put off.
        self._listens_until = -inf
        self._follow_at = -inf

    @override
    def take(self) -> News:
        try:
            if time.monotonic() >= self._look_at or not self._identity.is_known:
                self._look_at = time.monotonic() + _LOOK_EVERY_S
                self._look()
            # Who closes it waits so long at most; to wait for an event takes many steps, while others want to go on.
            time.sleep(self._pause_s)
            self._pause_s = 0.0
            if records := self._heard():
                return News(records, is_reset=False, current_until=self._current_until, is_at_end=False)
            return self._followed()
        except DRIVER_ERRORS as error:
            # It may say that the server is another one by now, or was in between.
            self._identity.forget()
            self._place.is_damaged = is_damage(error)
            if self._place.is_damaged:
                msg = f"{self._address}: a key is not the store's own any more. The next step here removes it."
                raise StoreUnavailable(msg) from error
            raise described(self._address, error) from error
        except Exception as error:
            # The driver does not expect that a connection is closed while it is read.
            if not self._closed.is_set():
                raise
            raise StoreClosed(CLOSED) from error

    @override
    def give_way(self) -> None:
        self._pause_s = max(self._pause_s, _PAUSE_AT_WORK_S)

    @override
    def close(self) -> None:
        self._closed.set()
        self._client.close()

    def _followed(self) -> News:
        asked_at = time.monotonic()
        batch = self._follow()
        self._place.told, self._place.is_damaged = batch.position, False
        if batch.is_reset:
            self._client.start_over()
        # What was given is told by the next call, and has to be passed on before anything is waited for.
        self._is_at_end = not batch.is_reset and not batch.records
        records = untold(batch.records, self._early, batch.position)
        self._early, self._n_early = None, 0
        self._pause_s = min(2 * (time.monotonic() - asked_at), _LONGEST_PAUSE_S) if records else 0.0
        self._current_until = asked_at + SUBSCRIPTION_LEASE_S
        return News(records, batch.is_reset, self._current_until, is_at_end=len(batch.records) < _MAX_RECORDS)

    def _heard(self) -> tuple[FeedRecord, ...]:
        """What came while there was nothing else to do; what it is worth, the next to follow says."""
        place = self._early or self._place.told
        if self._early is None:
            self._listens_until = time.monotonic() + _LISTEN_S
        while self._is_at_end and place is not None:
            left_s = self._listens_until - time.monotonic()
            found = early(self._client.hear(self._stream, name_of(place), left_s)) if left_s > 0 else ()
            records = tuple(record for record in found if record.sequence > place.sequence)
            if records:
                self._note_early(records, place)
                return records
            # What is known already was found by a question that is older than that.
            self._is_at_end = bool(found)
        return ()

    def _note_early(self, records: tuple[FeedRecord, ...], place: Position) -> None:
        now = time.monotonic()
        if self._early is None:
            self._follow_at = min(self._listens_until, now + _LONGEST_LISTENING_S)
        self._early = last_of(records, place)
        self._n_early += len(records)
        self._listens_until = min(self._follow_at, now + GIVE_WAY_S)
        # Mostly more is written in the same step.
        self._pause_s = GIVE_WAY_S / 4
        if self._n_early >= N_EARLY:
            self._is_at_end = False
            self._pause_s = max(self._listens_until - now, 0.0)

    def _follow(self) -> FeedBatch:
        request = Follow(self._place.id, self._place.told, _MAX_RECORDS)
        payload = wire.encode(request, self._head(is_repair=self._place.is_damaged))
        arguments = (payload.packed, *payload.blobs)
        return wire.decode(request, self._client.run(script_of(payload.script), self._key, arguments)).answer
