"""Words: numbers and lists as all commands print them."""

from __future__ import annotations

from collections.abc import Sequence

# Of a long list people read the beginning; JSON has all of it.
_N_SHOWN = 10


def count(n: int, one: str, many: str = "") -> str:
    """So many of these."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {many or one + 's'}"


def shown(lines: Sequence[str]) -> list[str]:
    """The lines, or of many the first ones."""
    n_more = len(lines) - _N_SHOWN
    return [*lines[:_N_SHOWN], f"and {n_more:,} more"] if n_more > 0 else [*lines]
