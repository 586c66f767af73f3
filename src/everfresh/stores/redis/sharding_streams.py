"""ShardedStream: the feeds of all shards as one, each taken by a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from everfresh.model.entry import FeedRecord
from everfresh.model.marks import override
from everfresh.stores.store import FeedStream, News


class ShardedStream(FeedStream):
    """Follows all shards. A shard's stream goes on once what it brought was told."""

    def __init__(self, streams: Sequence[FeedStream]) -> None:
        self._streams = streams
        self._news: queue.SimpleQueue[tuple[int, News | Exception]] = queue.SimpleQueue()
        self._told = [threading.Semaphore(0) for _ in streams]
        self._current_until: list[float] = [float("-inf")] * len(streams)
        self._is_at_end = [False] * len(streams)
        self._was_given: list[int] = []
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    @override
    def take(self) -> News:
        if not self._threads:
            self._begin()
        for shard in self._was_given:
            self._told[shard].release()
        self._was_given = []
        found = [self._news.get()]
        while not self._news.empty():
            found.append(self._news.get())
        records: list[FeedRecord] = []
        is_reset = False
        for shard, news in found:
            if isinstance(news, Exception):
                raise news
            self._was_given.append(shard)
            records += news.records
            is_reset = is_reset or news.is_reset
            self._current_until[shard] = news.current_until
            self._is_at_end[shard] = news.is_at_end
        told = () if is_reset else tuple(records)
        return News(told, is_reset, min(self._current_until), all(self._is_at_end))

    @override
    def close(self) -> None:
        self._is_closed = True
        for stream in self._streams:
            stream.close()
        for told in self._told:
            told.release()

    def _begin(self) -> None:
        self._threads = [
            threading.Thread(target=self._take_all, args=(shard,), name=f"everfresh-shard-{shard}", daemon=True)
            for shard in range(len(self._streams))
        ]
        for thread in self._threads:
            thread.start()

    def _take_all(self, shard: int) -> None:
        while not self._is_closed:
            try:
                news: News | Exception = self._streams[shard].take()
            except Exception as error:  # noqa: BLE001 - raised where it is taken
                news = error
            self._news.put((shard, news))
            if isinstance(news, Exception):
                return
            self._told[shard].acquire()
