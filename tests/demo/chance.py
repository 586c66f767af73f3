"""Chance that is the same in every run."""

import random


def dice() -> random.Random:
    """A generator that always rolls the same."""
    return random.Random(1)  # noqa: S311 - repeatable on purpose
