"""Every interleaving of commits, hand-out, reading and lost connections leaves clients with the truth.

A model of one client: the store, the fan-out's steps and the client's are rules; Hypothesis searches for an order of
them that breaks a promise. Only the deciders of everfresh.push run, in the order in which the doers call them.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from everfresh.model.entry import Entry, FeedRecord, Key, Kind, State
from everfresh.model.position import Position
from everfresh.push.changes import changes_of, is_overtaken
from everfresh.push.connection import Connection
from everfresh.push.frames import Frame, Part, heartbeat, reset
from everfresh.push.resume import Start, part_owed, place_of, rank_of, start_of
from everfresh.push.showing import frame_of
from everfresh.push.topics import Topic, cursor_of
from tests.push.making import at, entry
from tests.push.sse import Received, parsed
from tests.searching import n_searched

pytestmark = pytest.mark.searching

KEYS = [Key("a"), Key("b"), Key("c")]
STALE, FRESH = State.DIRTY, State.FRESH


class Store:
    """Entries, and a log of what became of them, in one order."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.sequence = 0
        self.entries: dict[Key, Entry] = {}
        self.log: list[FeedRecord] = []

    @property
    def position(self) -> Position:
        return at(self.sequence, self.epoch)

    def record(self, key: Key, kind: Kind, *, version: int, state: State, changed_at: int | None = None) -> None:
        self.sequence += 1
        self.log.append(FeedRecord(self.sequence, key, kind, version, "d"))
        place = self.sequence if changed_at is None else changed_at
        self.entries[key] = entry(key, version=version, changed_at=place, state=state, epoch=self.epoch)


class Client:
    """What a browser shows: per topic the value's place in its store's order, and the state."""

    def __init__(self, cursor: Position) -> None:
        self.shown: dict[str, int] = {}
        self.state: dict[str, str] = {}
        self.cursor = cursor.text
        self.on_this_connection: dict[str, int] = {}

    def take(self, frame: Frame, event: Received) -> None:
        if event.event == "reset":
            self.shown.clear()
            self.on_this_connection.clear()
        if event.event == "update":
            assert frame.changed_at is not None
            place = frame.changed_at.sequence
            assert place > self.on_this_connection.get(frame.topic, 0), "an older value after a newer one"
            self.shown[frame.topic] = self.on_this_connection[frame.topic] = place
        if frame.topic:
            self.state[frame.topic] = event.data["state"]
        self.cursor = event.id or self.cursor


class Following(RuleBasedStateMachine):
    """One store, one fan-out, one client that comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store("e1")
        self.handed_out = self.store.position
        self.connection: Connection | None = None
        self.is_trimmed = False
        self.handing_out: Iterator[None] | None = None
        self.owing: Iterator[None] | None = None
        self.client = Client(self.store.position)

    @initialize()
    def page_is_rendered(self) -> None:
        for key in KEYS:
            self.commit(key)
        self.handed_out = self.store.position
        self.client = Client(self.store.position)
        for key in KEYS:
            self.client.shown[key] = self.store.entries[key].changed_at.sequence
            self.client.state[key] = FRESH.value

    # ------------------------------------------------------------------------------------------------- the store

    @rule(key=st.sampled_from(KEYS))
    def commit(self, key: Key) -> None:
        version = self.store.entries[key].version + 1 if key in self.store.entries else 1
        self.store.record(key, Kind.CHANGED, version=version, state=FRESH)

    @rule(key=st.sampled_from(KEYS), state=st.sampled_from([STALE, FRESH]))
    def turn(self, key: Key, state: State) -> None:
        now = self.store.entries.get(key)
        if now is None:
            return
        kind = Kind.FRESH if state is FRESH else Kind.STALE
        self.store.record(key, kind, version=now.version, state=state, changed_at=now.changed_at.sequence)

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: Key) -> None:
        if key in self.store.entries:
            version = self.store.entries[key].version
            self.store.record(key, Kind.DROPPED, version=version, state=STALE)
            del self.store.entries[key]

    @rule(n_lost=st.integers(0, 3))
    def lose_everything(self, n_lost: int) -> None:
        self.store = Store(f"e{int(self.store.epoch[1:]) + 1}")
        for key in KEYS[n_lost:]:
            self.commit(key)

    @rule()
    def trim(self) -> None:
        """Throw the log away; who has not read it learns that some is lost."""
        if self.store.position != self.handed_out:
            self.store.log.clear()
            self.is_trimmed = True

    # ----------------------------------------------------------------------------------------------- the fan-out

    @rule()
    def restart(self) -> None:
        """End the process, and begin another."""
        self.connection = self.owing = self.handing_out = None
        self.handed_out, self.is_trimmed = self.store.position, False

    @rule()
    def hand_out(self) -> None:
        """Do one step: begin a batch, or offer one change of it, or end it."""
        if self.handing_out is None:
            self.handing_out = self._batch()
        if next(self.handing_out, "end") == "end":
            self.handing_out = None

    def _batch(self) -> Iterator[None]:
        store = self.store
        end = store.position
        if self.handed_out.epoch != store.epoch or self.is_trimmed:
            self.is_trimmed = False
            yield from self._restart(end)
        else:
            records = [record for record in store.log if record.sequence > self.handed_out.sequence]
            for change in changes_of(records, KEYS):
                yield
                now = self.store.entries.get(change.key)
                if self.connection is not None and not is_overtaken(change, now, end.epoch):
                    place = at(change.sequence, end.epoch)
                    frame = self._frame(change.key, now, change.part, place)
                    if self.connection.passes(frame):
                        self._arrive([frame])
                    else:
                        self.connection.offer(frame)
                        self._arrive([*self.connection.take(1)])
        self.handed_out = end

    def _restart(self, end: Position) -> Iterator[None]:
        restarted = self.connection
        generation = -1 if restarted is None else restarted.restart(reset(end))
        frames: list[Frame] = []
        yield from self._read(frames, None, end)
        if restarted is not None and restarted is self.connection:
            restarted.settle(sorted(frames, key=rank_of), generation=generation)

    def _read(self, frames: list[Frame], cursor: Position | None, handed_out: Position) -> Iterator[None]:
        for key in KEYS:
            yield
            now = self.store.entries.get(key)
            part = part_owed(now, cursor)
            frames.append(self._frame(key, now, part, place_of(now, part, handed_out)))

    def _frame(self, key: Key, now: Entry | None, part: Part, place: Position | None) -> Frame:
        return frame_of(key, Topic(key), now, part, at=place)

    # ------------------------------------------------------------------------------------------------ the client

    @precondition(lambda self: self.connection is None)
    @rule()
    def connect(self) -> None:
        start = start_of(
            cursor_of(self.client.cursor, ""), newest=self.store.position, handed_out=self.handed_out, heartbeat_s=20
        )
        self.connection = Connection(start.frames, cursor=start.cursor)
        self.client.on_this_connection = {}
        self.owing = self._owe(self.connection, start)

    def _owe(self, connection: Connection, start: Start) -> Iterator[None]:
        frames: list[Frame] = []
        yield from self._read(frames, start.cursor, start.handed_out)
        connection.settle(sorted(frames, key=rank_of), generation=0)

    @precondition(lambda self: self.owing is not None)
    @rule()
    def read_what_is_owed(self) -> None:
        assert self.owing is not None
        if next(self.owing, "end") == "end":
            self.owing = None

    @precondition(lambda self: self.connection is not None)
    @rule(most_bytes=st.sampled_from([1, 1 << 20]))
    def receive(self, most_bytes: int) -> None:
        assert self.connection is not None
        frames = [*self.connection.take(most_bytes)]
        position = self.connection.position(self.handed_out)
        if not frames and position is not None:
            self.connection.say(heartbeat(position))
            frames = [*self.connection.take(most_bytes)]
        self._arrive(frames)

    @precondition(lambda self: self.connection is not None)
    @rule(n_arrived=st.integers(0, 3))
    def lose_the_connection(self, n_arrived: int) -> None:
        """With what was under way, but for the first."""
        assert self.connection is not None
        self._arrive([*self.connection.take(1 << 20)][:n_arrived])
        self.connection = self.owing = None

    def _arrive(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.client.take(frame, parsed(frame.wire)[0])

    # ---------------------------------------------------------------------------------------------- the promises

    @invariant()
    def the_cursor_claims_nothing_that_was_not_sent(self) -> None:
        cursor = cursor_of(self.client.cursor, "")
        if not isinstance(cursor, Position) or cursor.epoch != self.store.epoch:
            return
        for key, now in self.store.entries.items():
            newest = now.changed_at.sequence
            # A value older than the cursor says is no loss if there is a newer one: that is sent when they resume.
            assert self.client.shown.get(key, 0) == newest or newest > cursor.sequence, f"{key} would be missed"

    def teardown(self) -> None:
        """Let everything come to rest, and look at what the client shows."""
        if self.connection is None:
            self.connect()
        while self.owing is not None:
            self.read_what_is_owed()
        # What is under way, and then all the rest.
        while self.handing_out is not None or self.handed_out != self.store.position:
            self.hand_out()
        while self.connection is not None and self.connection.n_waiting:
            self.receive(1 << 20)
        for key in KEYS:
            now = self.store.entries.get(key)
            assert self.client.state[key] == ("dropped" if now is None else now.state.value)
            if now is not None:
                assert self.client.shown[key] == now.changed_at.sequence


Following.TestCase.settings = settings(max_examples=n_searched(100), stateful_step_count=50, deadline=None)
TestFollowing = Following.TestCase
