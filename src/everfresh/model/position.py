"""Position: where in the store's single order of applied events and commits."""

from __future__ import annotations

import re

import msgspec

from everfresh.model.errors import InvalidPosition

_PART = re.compile(r"([0-9a-z]{1,64})\.(0|[1-9][0-9]{0,17})", re.ASCII)
# More than any store has shards; so that a text from outside costs little.
_MAX_PARTS = 1_024


class Position(msgspec.Struct, frozen=True):
    """A point in the order of one store's life; of a store with several shards, a point in the order of each.

    Two positions can be compared only within one epoch: a store, or a shard, that lost its memory begins another. That
    of an entry is one of its own shard alone. `others` are the epochs and sequences of the shards after the first.
    """

    epoch: str
    sequence: int
    others: tuple[tuple[str, int], ...] = ()

    @property
    def text(self) -> str:
        """The position as text of `[0-9a-z.-]` only, safe in headers and as an SSE id."""
        if not self.others:
            return f"{self.epoch}.{self.sequence}"
        return "-".join(f"{epoch}.{sequence}" for epoch, sequence in self.parts())

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `text` writes.

        Raises:
            InvalidPosition: the text was not made by `Position.text`.
        """
        parts: list[tuple[str, int]] = []
        for part in text.split("-", _MAX_PARTS):
            found = _PART.fullmatch(part)
            if found is None or len(parts) == _MAX_PARTS:
                msg = f"position: {text[:80]!r} is not one. Use the text of a position that this store gave."
                raise InvalidPosition(msg)
            parts.append((found[1], int(found[2])))
        return cls.of(parts)

    @classmethod
    def of(cls, parts: list[tuple[str, int]]) -> Position:
        """The position with these epochs and sequences, one for each shard, at least one."""
        (epoch, sequence), *others = parts
        return cls(epoch, sequence, tuple(others))

    def parts(self) -> tuple[tuple[str, int], ...]:
        """The epoch and the sequence of each shard."""
        return ((self.epoch, self.sequence), *self.others)

    def sequence_in(self, epoch: str) -> int | None:
        """The sequence in the shard, or the store, that is in this epoch; None when none is."""
        if epoch == self.epoch:
            return self.sequence
        return next((sequence for other, sequence in self.others if other == epoch), None)

    def covers(self, other: Position) -> bool:
        """Whether everything up to `other` lies within this position, wherever both have an epoch in common."""
        if not (self.others or other.others):
            return self.epoch == other.epoch and self.sequence >= other.sequence
        pairs = [(sequence, other.sequence_in(epoch)) for epoch, sequence in self.parts()]
        known = [(own, its) for own, its in pairs if its is not None]
        return bool(known) and all(own >= its for own, its in known)
