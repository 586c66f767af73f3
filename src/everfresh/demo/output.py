"""Lines on the terminal."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str, *, who: str = "everfresh demo") -> None:
    """A line on standard error."""
    sys.stderr.write(f"{who}: {text}\n")
    sys.stderr.flush()
