"""Who repeats a step: a slot's name and a serial that grows with each of its steps.

The server keeps the last answer of each slot. A step that is sent again under the same slot and serial, as its answer
was lost, is answered from there. So each slot has one step under way at a time, and one whose step ended in doubt is
not used before it is known what became of that: what was sent may still arrive (doubts.py).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

_NAME_BYTES = 8


@dataclass(slots=True)
class Slot:
    """One that repeats."""

    name: str
    serial: int = 0


NOBODY = Slot("")
"""For steps that may be done twice."""


class Slots:
    """As many as there were steps under way at once; safe from every thread."""

    def __init__(self) -> None:
        self._free: list[Slot] = []

    def take(self) -> Slot:
        """A slot that nobody uses, ready for its next step."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = Slot(secrets.token_hex(_NAME_BYTES))
        slot.serial += 1
        return slot

    def give_back(self, slot: Slot) -> None:
        """Its step was answered."""
        self._free.append(slot)
