"""StreamFollower: follows a store that brings its feed by itself, as one over a network does.

Rules
- One thread holds this process's place in the feed. It tells the listeners, then passes on how far it has told.
- To pass on renews a subscription lease. Until its end, whoever waits for all followers waits for this one; after it
  nobody does, so nothing that is held near is current any more. `confirm` looks at the clock, never at the store.
- The end is reckoned from before the lease was asked for, so it never comes later here than in the store. It counts
  once all is told that came with it: what was held while no lease stood may have missed records.
- The steps of this process are told at once, and once more when the feed brings them, which does no harm: listeners
  look at what they hold, not at how often they were told.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable

from everfresh.feed.listeners import Listener, Listeners
from everfresh.model.errors import StoreClosed, StoreError
from everfresh.stores.store import FeedStream, StreamingStore

_log = logging.getLogger("everfresh")

# How long a store that did not answer is left alone: at first, and at most. A dead one is asked once in two seconds.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_NEVER = float("-inf")


class StreamFollower:
    """Follows from the first time that anybody needs it. `lapse` is called when what is held near is not current."""

    def __init__(self, store: StreamingStore, lapse: Callable[[float], None]) -> None:
        self._store = store
        self._lapse = lapse
        self._listeners = Listeners()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stream: FeedStream | None = None
        self._stop = threading.Event()
        # By `time.monotonic`.
        self._current_until = _NEVER
        self._is_barred = False
        # Whether the stream that is followed has brought anything yet.
        self._has_taken = False
        store.listen(self._listeners.tell)
        _FOLLOWERS.add(self)

    @property
    def is_current(self) -> bool:
        """Whether the listeners were told of everything that anybody may rely on."""
        return time.monotonic() < self._current_until

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of everything from now on; gives back how to stop."""
        return self._listeners.add(listener)

    def confirm(self) -> None:
        """Make sure that nothing is used that nobody vouches for; what is held near is let go when nobody does."""
        until = self._current_until
        if time.monotonic() >= until:
            self.poll()
            self._lapse(until)

    def poll(self) -> None:
        """Follow by itself from now on."""
        if self._thread is not None or self._is_barred:
            return
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                thread = threading.Thread(target=self._follow, name="everfresh-follower", daemon=True)
                thread.start()
                # Last, so that whoever stops it finds it started.
                self._thread = thread

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            stream = self._stream
            if stream is not None:
                stream.close()
            thread.join()

    def start_over(self) -> None:
        """Have every listener forget what it knows, and look again."""
        self._listeners.tell(())

    def bar(self) -> None:
        """Follow no more, in the child of a fork, which has no such thread."""
        # A thread of the parent may have held the old one.
        self._lock = threading.Lock()
        self._current_until = _NEVER
        self._is_barred = True

    def _follow(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            self._has_taken = False
            try:
                self._follow_one()
            except StoreClosed:
                return
            except StoreError as error:
                _log.debug("follower.waits %s", {"error": str(error)})
            except Exception:  # noqa: BLE001 - without this thread nothing that is held near would be used any more
                _log.exception("follower.failed")
            # The next stream goes on where this one was, or begins with a reset: whoever waits for a record is told.
            pause_s = _FIRST_PAUSE_S if self._has_taken else min(2 * pause_s, _LONGEST_PAUSE_S)
            self._stop.wait(pause_s)

    def _follow_one(self) -> None:
        """Follow one stream until it breaks off."""
        stream = self._stream = self._store.stream()
        try:
            self._take_all(stream)
        finally:
            stream.close()

    def _take_all(self, stream: FeedStream) -> None:
        """Take from the stream until it breaks off, or nobody follows any more."""
        while not self._stop.is_set():
            news = stream.take()
            self._has_taken = True
            is_waited_for = time.monotonic() < self._current_until
            if news.is_reset:
                self._current_until = _NEVER
                self.start_over()
            elif news.records and self._listeners.tell(news.records):
                stream.give_way()
            # Who was not may have missed what is not told yet.
            if is_waited_for or news.is_at_end:
                self._current_until = news.current_until
            if news.is_at_end:
                self._listeners.tell_quiet()


def _bar_forked() -> None:
    for follower in tuple(_FOLLOWERS):
        follower.bar()


_FOLLOWERS: weakref.WeakSet[StreamFollower] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bar_forked)
