"""Probes: what one event says about the candidates of one stem, whose conditions no index can answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from everfresh.matching.comparing import passes
from everfresh.matching.shapes import Bucket

Image = tuple[tuple[str, ...] | None, ...]
"""For each filter the texts of its field; None where they are unknown."""


class Probe(msgspec.Struct, frozen=True):
    """One event against those who stand in one stem.

    `before` and `after` are None when the row had, or has, not the fields that the stem asks for. With `is_any` each
    who met the event is touched; otherwise those for whom the outcome changed.
    """

    stem: Bucket
    event: int
    operators: tuple[str, ...]
    before: Image | None
    after: Image | None
    is_any: bool

    def touches(self, operands: Sequence[str]) -> bool:
        """Whether the event touches an entry with these operands; what cannot be answered counts as touched."""
        after = self._meets(self.after, operands)
        if self.is_any and after is not False:
            return True
        before = self._meets(self.before, operands)
        if self.is_any:
            return before is not False
        return before is None or after is None or before is not after

    def _meets(self, image: Image | None, operands: Sequence[str]) -> bool | None:
        if image is None:
            return False
        answer: bool | None = True
        for operator, values, operand in zip(self.operators, image, operands, strict=True):
            passed = passes(operator, values, operand)
            if passed is False:
                return False
            if passed is None:
                answer = None
        return answer
