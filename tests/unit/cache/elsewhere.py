"""Classes with the names that those of the tests have."""

from dataclasses import dataclass
from enum import Enum


class Color(Enum):
    """Another Color."""

    RED = "red"


@dataclass(frozen=True)
class Point:
    """Another Point."""

    x: int
    y: int
