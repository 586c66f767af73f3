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
    who met the event is touched; otherwise those for whom the outcome changed. A condition on a field that is `steady`
    has the outcome that it had, even where nobody can tell which.
    """

    stem: Bucket
    event: int
    operators: tuple[str, ...]
    before: Image | None
    after: Image | None
    is_any: bool
    steady: tuple[bool, ...] = ()

    def touches(self, operands: Sequence[str]) -> bool:
        """Whether the event touches an entry with these operands; what cannot be answered counts as touched."""
        if self.is_any or self.before is None or self.after is None:
            return any(
                self._meets(image, operands) is not False for image in (self.after, self.before) if image is not None
            )
        is_steady = self.steady or (False,) * len(operands)
        if self._meets(self.after, operands, only=is_steady) is False:
            return False
        others = [not is_same for is_same in is_steady]
        before = self._meets(self.before, operands, only=others)
        after = self._meets(self.after, operands, only=others)
        return before is None or after is None or before is not after

    def _meets(self, image: Image, operands: Sequence[str], only: Sequence[bool] | None = None) -> bool | None:
        answer: bool | None = True
        for number, (operator, values, operand) in enumerate(zip(self.operators, image, operands, strict=True)):
            if only is not None and not only[number]:
                continue
            passed = passes(operator, values, operand)
            if passed is False:
                return False
            if passed is None:
                answer = None
        return answer
