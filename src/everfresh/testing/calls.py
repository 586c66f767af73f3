"""Calls of functions that are declared nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from everfresh.model.entry import Recipe
from everfresh.model.marks import override
from everfresh.protocol.requests import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class CallByHand(Call):
    """A call with its recipe at hand."""

    made: Recipe

    @property
    @override
    def recipe(self) -> Recipe:
        return self.made
