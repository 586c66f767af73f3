"""Moves: what may happen in a history. A history is a list of them, so it can be kept, replayed and made shorter."""

from __future__ import annotations

import random
from typing import NamedTuple


class Move(NamedTuple):
    """Something that happens; the number says to whom, and how."""

    name: str
    number: int


N_NUMBERS = 10_000

WEIGHTS: dict[str, int] = {
    "step": 10,
    "finish": 5,
    "hold": 5,
    "read": 3,
    "read_after": 2,
    "read_within": 2,
    "read_plainly": 2,
    "read_many": 1,
    "refresh": 3,
    "rebuild": 1,
    "fetch": 1,
    "change": 4,
    "tell": 3,
    "strike": 3,
    "publish": 3,
    "again": 1,
    "follow": 1,
    "crash": 2,
    "die": 1,
    "cancel": 1,
    "jump": 2,
    "tick": 2,
    "extend": 1,
    "linger": 2,
    "toggle": 1,
    "fall": 1,
    "stumble": 1,
    "delete": 1,
    "note": 1,
    "retry": 1,
    "distrust": 1,
    "interrupt": 1,
    "warm": 1,
}
"""How often each may happen; `Play` has a method for each, which says what it is."""

TROUBLES = (
    "crash",
    "die",
    "cancel",
    "jump",
    "extend",
    "linger",
    "toggle",
    "fall",
    "stumble",
    "delete",
    "rebuild",
    "again",
    "fetch",
    "note",
    "retry",
    "read_many",
    "distrust",
    "interrupt",
)
"""What a history may have or not have as a whole: many troubles at once hide what two of them do together."""

# After a new life little is left of what went before, so most histories do without.
_RARE = {"distrust": 0.85, "interrupt": 0.85}


def names_without(absent: frozenset[str]) -> list[str]:
    """The names of moves, each as often as its weight, without some of the troubles."""
    return [name for name, weight in WEIGHTS.items() if name not in absent for _ in range(weight)]


def moves_of(seed: int, n_steps: int) -> list[Move]:
    """The history of a seed; the same in every process."""
    dice = random.Random(seed)  # noqa: S311 - it must be repeatable
    absent = frozenset(trouble for trouble in TROUBLES if dice.random() < _RARE.get(trouble, 0.5))
    names = names_without(absent)
    moves = [Move(dice.choice(names), dice.randrange(N_NUMBERS)) for _ in range(n_steps)]
    # Most of what can go wrong needs something stored first.
    return [Move("warm", 0), *moves] if dice.random() < 0.6 else moves  # noqa: PLR2004 - more often than not
