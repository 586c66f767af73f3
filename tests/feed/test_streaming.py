"""Following a store that brings its feed: what may be relied on when, and how it ends."""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf

from everfresh import Cache
from everfresh.feed.listeners import Listener, Listeners
from everfresh.feed.streaming import StreamFollower
from everfresh.feed.wakers import Wakers
from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.model.errors import StoreClosed, StoreUnavailable
from everfresh.model.marks import override
from everfresh.stores.memory import MemoryStore
from everfresh.stores.store import FeedStream, News
from everfresh.testing.passing import PassingStore
from everfresh.testing.waiting import until

PAST = -inf
START = News((), True, PAST)


class Script(FeedStream):
    """A stream that brings what it is given, and says when it is asked for more."""

    def __init__(self) -> None:
        self._news: queue.Queue[News | Exception] = queue.Queue()
        self.n_asked = 0
        self.n_given_way = 0
        self._is_waiting = False

    @override
    def give_way(self) -> None:
        self.n_given_way += 1

    def bring(self, *news: News | Exception) -> None:
        """Bring these, and come back when all of them were told."""
        n_asked = self.n_asked + len(news)
        for one in news:
            self._news.put(one)
        until(lambda: self.n_asked >= n_asked, what="the next question")

    @override
    def take(self) -> News:
        self._is_waiting = True
        self.n_asked += 1
        news = self._news.get()
        self._is_waiting = False
        if isinstance(news, Exception):
            raise news
        return news

    @override
    def close(self) -> None:
        if self._is_waiting:
            self._news.put(StoreClosed("It was closed."))


class Scripted(PassingStore):
    """A store whose feed is a script."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.script = Script()

    def stream(self) -> FeedStream:
        """The one that there is."""
        return self.script


class Heard(Listener):
    """What somebody was told."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.n_quiet = 0
        self.is_at_work = False

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> bool:
        self.all.extend(record.key for record in records)
        return self.is_at_work

    @override
    def on_quiet(self) -> None:
        self.n_quiet += 1

    @override
    def on_reset(self) -> None:
        self.all.append("reset")


@contextmanager
def following() -> Iterator[tuple[StreamFollower, Script, Heard]]:
    """A follower who has been told to start over, and may rely on nothing yet."""
    store, heard = Scripted(), Heard()
    follower = StreamFollower(store, lambda _: None)
    follower.add(heard)
    follower.poll()
    try:
        store.script.bring(START)
        yield follower, store.script, heard
    finally:
        follower.stop()


def test_it_is_current_once_all_is_told_and_while_the_lease_lasts() -> None:
    """Not before, and not after."""
    with following() as (follower, script, heard):
        assert not follower.is_current

        script.bring(News((record("a"),), False, inf))
        assert (follower.is_current, heard.all) == (True, ["reset", "a"])

        script.bring(News((), False, time.monotonic()))
        assert not follower.is_current


def test_who_was_not_waited_for_is_current_only_at_the_end() -> None:
    """An event may have been acknowledged meanwhile whose record comes with the next ones."""
    with following() as (follower, script, heard):
        script.bring(News((record("a"),), False, inf, is_at_end=False))
        assert not follower.is_current

        script.bring(News((record("b"),), False, inf))
        assert (follower.is_current, heard.all) == (True, ["reset", "a", "b"])


def test_who_is_waited_for_is_current_however_much_there_is_to_tell() -> None:
    """Nobody goes on before it has told."""
    with following() as (follower, script, _):
        script.bring(News((), False, inf), News((record("a"),), False, inf, is_at_end=False))

        assert follower.is_current


def test_that_all_is_quiet_is_told_at_the_end_alone() -> None:
    """What was told early may be one half, and more is on its way."""
    with following() as (_, script, heard):
        n_before = heard.n_quiet
        script.bring(News((record("a"),), False, inf, is_at_end=False))
        assert heard.n_quiet == n_before

        script.bring(News((), False, inf))
        assert heard.n_quiet == n_before + 1


def test_the_stream_gives_way_when_somebody_was_set_to_work() -> None:
    """Who only notes what it is told needs nothing of it."""
    with following() as (_, script, heard):
        script.bring(News((record("a"),), False, inf, is_at_end=False))
        assert script.n_given_way == 0

        heard.is_at_work = True
        script.bring(News((record("b"),), False, inf, is_at_end=False))
        assert script.n_given_way == 1


def test_a_stream_that_breaks_off_is_opened_anew() -> None:
    """What is held stays as good as its lease."""
    with following() as (follower, script, heard):
        script.bring(News((), False, inf), StoreUnavailable("It was cut."))
        assert follower.is_current

        script.bring(START)
        assert (follower.is_current, heard.all) == (False, ["reset", "reset"])


def test_to_stop_does_not_wait_for_news() -> None:
    """The stream is closed under whoever waits there."""
    with following() as (follower, _, _):
        stopping = threading.Thread(target=follower.stop)
        stopping.start()

        stopping.join(10.0)
        assert not stopping.is_alive()


def test_a_cache_on_redis_closes_at_once(redis_url: str) -> None:
    """Its follower waits for news a quarter of a second long, at each of the twenty."""
    began_at = time.monotonic()
    for _ in range(20):
        with Cache(redis_url) as cache:
            cache.blocking.put("a", 1)
            cache.blocking.get("a")
            with suppress(AssertionError):
                until(lambda cache=cache: follower_of(cache).is_current, what="a follower", deadline_s=0.02)

    assert time.monotonic() - began_at < 20 * 0.25


def follower_of(cache: Cache) -> StreamFollower:
    """The one that keeps its near cache."""
    follower = cache.engine.follower
    assert isinstance(follower, StreamFollower)
    return follower


def record(key: str) -> FeedRecord:
    """Of a change."""
    return FeedRecord(sequence=1, key=Key(key), kind=Kind.CHANGED, version=1, digest="1")


def test_who_raises_at_a_quiet_moment_keeps_no_word_from_others() -> None:
    """Nor does it end the following."""
    told: list[str] = []

    class Quiet(Wakers):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        @override
        def on_quiet(self) -> None:
            told.append(self._name)
            if self._name == "raises":
                raise ValueError("no")

    listeners = Listeners()
    for name in ("raises", "goes on"):
        listeners.add(Quiet(name))
    listeners.tell_quiet()

    assert told == ["raises", "goes on"]
