"""Attention: which entries people read and watch in this process, told to the store every few seconds.

Rules
- It costs nothing until somebody needs to know: a function with `keep_warm`, a store that must evict, or a watcher.
- A hit in the near cache only marks its slot; the marks are collected when it is time to tell. Other reads are noted.
- An entry's reading is told again only after a while, so that a hot one costs one write a minute. What was not told
  yet is kept, so the last reading reaches the store in the end.
- Who watches is told ahead of time, for a minute, and again before that is over: a dead process watches nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress

from everfresh.cache.near import NearCache
from everfresh.cache.notices import NoticeBoard
from everfresh.model.clock import Clock
from everfresh.model.entry import Key
from everfresh.model.errors import StoreClosed, StoreError
from everfresh.protocol.queueing import Note
from everfresh.stores.store import Store

FLUSH_EVERY_S = 5.0
# Queue order and eviction ask for the hour; who keeps entries warm for less than four minutes asks for more.
TELL_AGAIN_AFTER_S = 60.0
WATCH_LASTS_S = 60.0
# Many who come at once are told of at once.
_GATHER_S = 0.02
# Who keeps entries warm for no time at all does not keep a thread busy with it.
_LEAST_S = 0.01


class Attention:
    """What is read and watched here, by the store's clock; safe from every thread."""

    def __init__(self, store: Store, near: NearCache, board: NoticeBoard, clock: Clock) -> None:
        self._store = store
        self._near = near
        self._board = board
        self._clock = clock
        # Reentrant: a watcher that is collected as garbage takes itself out, whatever this thread is doing.
        self._lock = threading.RLock()
        self._reads: dict[Key, float] = {}
        self._told: dict[Key, float] = {}
        # By a token of its own for each, so that to come and to go is one step each, whatever runs in between.
        self._watchers: dict[object, Key] = {}
        self._watched_until: dict[Key, float] = {}
        self._tell_again_after_s = TELL_AGAIN_AFTER_S
        self._looked_at = float("-inf")
        self._rung = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self.is_needed = False
        """Whether anybody wants to know."""

    def need(self, *, keep_warm_s: float | None = None) -> None:
        """Begin to note; with `keep_warm_s`, often enough that nothing is dropped which was read within that time."""
        with self._lock:
            if keep_warm_s is not None and keep_warm_s / 4 < self._tell_again_after_s:
                self._tell_again_after_s = keep_warm_s / 4
                if self._thread is not None:
                    # It may be in the middle of a longer wait.
                    self._rung.set()
            if self._thread is None and not self._is_closed:
                self._near.note_use()
                self.is_needed = True
                self._thread = threading.Thread(target=self._run, name="everfresh-attention", daemon=True)
                self._thread.start()

    def read(self, key: Key) -> None:
        """Somebody read the entry, not from the near cache."""
        if self.is_needed:
            with self._lock:
                self._reads[key] = self._clock()

    @contextmanager
    def watching(self, key: Key) -> Generator[None]:
        """Somebody watches the entry while the block runs: it is refreshed first, and is never cold."""
        self.need()
        token = object()
        self._watchers[token] = key
        if key not in self._watched_until:
            self._rung.set()
        try:
            yield
        finally:
            # Nothing is rung here: this may run in the middle of anything.
            del self._watchers[token]
            self.read(key)

    def due_note(self) -> Note | None:
        """What the store should be told now; whoever takes it tells the store, or gives it back.

        Cheap when asked again and again: it looks once in a few seconds.
        """
        now = self._clock()
        if not self.is_needed or 0 <= now - self._looked_at < min(FLUSH_EVERY_S, self._tell_again_after_s):
            return None
        return self._note(now, self._tell_again_after_s)

    def last_read(self, key: Key) -> float | None:
        """When it was read, as far as the store was not told."""
        return self._clock() if self._near.take_use(key) else self._reads.get(key)

    def give_back(self, note: Note) -> None:
        """The store was not told: it is told with the next."""
        with self._lock:
            for key, read_at in note.reads.items():
                self._reads[key] = max(read_at, self._reads.get(key, read_at))
                self._told.pop(key, None)
            for key in note.watched:
                self._watched_until.pop(key, None)

    def flush(self) -> None:
        """Tell the store all that is known here.

        Raises:
            StoreUnavailable: it was not told; it is told with the next.
        """
        if self.is_needed:
            self._tell(self._note(self._clock(), 0.0))

    def flush_due(self) -> None:
        """Tell the store what it should know by now; a store that does not answer is told later."""
        note = self.due_note()
        try:
            self._tell(note)
        except StoreClosed:
            raise
        except StoreError as error:
            self._board.tell("attention.failed", error=str(error))

    def close(self) -> None:
        """End the thread, and tell the store for the last time; repeating is safe."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        self._rung.set()
        if thread is not None:
            thread.join()
        with suppress(StoreError):
            self.flush()
        self.is_needed = False

    def _tell(self, note: Note | None) -> None:
        if note is None:
            return
        try:
            self._store.carry_out(note)
        except BaseException:
            self.give_back(note)
            raise

    def _note(self, now: float, tell_again_after_s: float) -> Note | None:
        with self._lock:
            self._looked_at = now
            for key in self._near.take_used():
                self._reads[key] = now
            pending, self._reads = self._reads, {}
            last = {key: at for key, at in self._told.items() if 0 <= now - at < tell_again_after_s}
            reads = {key: at for key, at in pending.items() if key not in last}
            self._reads = {**{key: at for key, at in pending.items() if key in last}, **self._reads}
            self._told = {**last, **dict.fromkeys(reads, now)}
            watched = self._take_watched(now)
        return Note(reads, watched) if reads or watched else None

    def _take_watched(self, now: float) -> Mapping[Key, float]:
        watchers = set(dict(self._watchers).values())
        ends = {key: end for key, end in self._watched_until.items() if key in watchers and end > now}
        # Told again at half time, so that one telling may fail.
        watched = {key: now + WATCH_LASTS_S for key in watchers if ends.get(key, now) < now + WATCH_LASTS_S / 2}
        self._watched_until = {**ends, **watched}
        return watched

    def _run(self) -> None:
        with suppress(StoreClosed):
            while self._comes_to_a_turn():
                self.flush_due()

    def _comes_to_a_turn(self) -> bool:
        """Wait until it is time to tell the store, or somebody begins to watch; False at the end."""
        if self._rung.wait(max(min(FLUSH_EVERY_S, self._tell_again_after_s), _LEAST_S)):
            self._rung.clear()
            # So that those who come together are told of together.
            threading.Event().wait(_GATHER_S)
            self._looked_at = float("-inf")
        return not self._is_closed
