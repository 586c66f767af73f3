"""Hearing: the feed as those hear it who follow it at once, and as one who follows slowly."""

from __future__ import annotations

from collections import Counter, defaultdict

from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.protocol.requests import ReadFeed
from everfresh.stores.store import Store
from everfresh.testing.simulation.promise import Broken, Promise


class Hearing:
    """Checks that the feed is MONOTONIC, and that a new life of the store is told of."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._start = store.carry_out(ReadFeed(None)).position
        self._lagging = self._start
        # Between two shards nothing says which record came first; those of one entry are in order.
        self._is_sharded = bool(self._start.others)
        self._heard: defaultdict[Key, list[FeedRecord]] = defaultdict(list)
        self._n_lagged: Counter[Key] = Counter()
        self._version_of: dict[Key, int] = {}
        self._digest_of: dict[Key, str] = {}

    def hear(self, record: FeedRecord) -> bool:
        """Check the next record; whether it tells of the value that was there."""
        heard = self._heard[self._line(record)]
        last = heard[-1].sequence if heard else 0 if self._is_sharded else self._start.sequence
        if record.sequence <= last:
            raise Broken(Promise.MONOTONIC, f"{record} comes after sequence {last}")
        heard.append(record)
        known = self._version_of.get(record.key, 0)
        is_new = record.kind is Kind.CHANGED
        if record.version < known or (is_new and record.version == known):
            raise Broken(Promise.MONOTONIC, f"{record} comes after version {known}")
        self._version_of[record.key] = record.version
        is_told_again = is_new and self._digest_of.get(record.key) == record.digest
        self._digest_of[record.key] = record.digest
        if record.kind is Kind.DROPPED:
            del self._digest_of[record.key]
        return is_told_again

    def has_value(self, key: Key) -> bool:
        """Whether a value of the entry was told of, and no drop since."""
        return bool(self._digest_of.get(key))

    def is_in_its_life(self) -> bool:
        """Whether the store's life is the one that is heard of."""
        return self._store.carry_out(ReadFeed(None)).position.epoch == self._start.epoch

    def begin_anew(self) -> None:
        """The store has begun a new life: who followed the old one is told so, however slowly."""
        batch = self._store.carry_out(ReadFeed(self._lagging))
        if not batch.is_reset or batch.position.epoch == self._start.epoch:
            raise Broken(Promise.NOTHING_TRUSTED, f"after {self._lagging} a follower is told {batch}, of a new life")
        self._start = self._lagging = batch.position
        self._heard.clear()
        self._n_lagged.clear()
        self._version_of.clear()
        self._digest_of.clear()

    def follow(self, n_max: int) -> None:
        """One who follows slowly, in small pieces, is told what all others were."""
        batch = self._store.carry_out(ReadFeed(self._lagging, n_max))
        lines: defaultdict[Key, list[FeedRecord]] = defaultdict(list)
        for record in batch.records:
            lines[self._line(record)].append(record)
        expected = {line: self._left(line)[: len(records)] for line, records in lines.items()}
        if batch.is_reset or lines != expected:
            raise Broken(Promise.MONOTONIC, f"after {self._lagging} a follower is told {batch}, others {expected}")
        self._lagging = batch.position
        self._n_lagged.update({line: len(records) for line, records in lines.items()})

    def follow_to_the_end(self) -> None:
        """One who follows slowly is told everything in the end."""
        while left := [record for line in self._heard for record in self._left(line)]:
            n_before = self._n_lagged.total()
            self.follow(7)
            if self._n_lagged.total() == n_before:
                raise Broken(Promise.MONOTONIC, f"a follower was never told {left[0]}")

    def _line(self, record: FeedRecord) -> Key:
        """Whose order the record stands in."""
        return record.key if self._is_sharded else Key("")

    def _left(self, line: Key) -> list[FeedRecord]:
        """What a slow follower was not told yet."""
        return self._heard[line][self._n_lagged[line] :]
