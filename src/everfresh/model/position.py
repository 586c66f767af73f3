"""Position: where in the store's single order of applied events and commits."""

from __future__ import annotations

import re

import msgspec

from everfresh.model.errors import InvalidPosition

_TEXT = re.compile(r"([0-9a-z]{1,64})\.(0|[1-9][0-9]{0,17})", re.ASCII)


class Position(msgspec.Struct, frozen=True):
    """A point in the order of one store's life.

    Two positions can be compared only within one epoch: a store that lost its memory begins another.
    """

    epoch: str
    sequence: int

    @property
    def text(self) -> str:
        """The position as text of `[0-9a-z.]` only, safe in headers and as an SSE id."""
        return f"{self.epoch}.{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `text` writes.

        Raises:
            InvalidPosition: the text was not made by `Position.text`.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            msg = f"position: {text[:80]!r} is not one. Use the text of a position that this store gave."
            raise InvalidPosition(msg)
        return cls(found[1], int(found[2]))

    def covers(self, other: Position) -> bool:
        """Whether everything up to `other` lies within this position, in the same epoch."""
        return self.epoch == other.epoch and self.sequence >= other.sequence
