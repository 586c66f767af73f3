"""What the cached functions give: immutable and mutable, small and large, for callers and for awaiters."""

from collections.abc import Callable
from typing import Any

N_BYTES_OF = {"small": 8, "10 KiB": 10 * 1024, "1 MiB": 1024 * 1024}
"""The text of each size; a list of rows is about as long, once it is encoded."""

Rows = list[dict[str, int]]
# {"id": 5, "state": 3}, as JSON.
_ROW_BYTES = 20


def text(number: int, n_bytes: int) -> str:
    """An immutable value."""
    return f"value {number}".ljust(n_bytes, "x")


def rows(number: int, n_bytes: int) -> Rows:
    """A mutable value; the small one has eight rows, as a page of a list would."""
    return [{"id": number + k, "state": k % 8} for k in range(max(8, n_bytes // _ROW_BYTES))]


def small(number: int) -> str:
    """Give a short text."""
    return text(number, N_BYTES_OF["small"])


def medium(number: int) -> str:
    """Give a text of 10 KiB."""
    return text(number, N_BYTES_OF["10 KiB"])


def large(number: int) -> str:
    """Give a text of 1 MiB."""
    return text(number, N_BYTES_OF["1 MiB"])


def small_rows(number: int) -> Rows:
    """Give eight rows."""
    return rows(number, N_BYTES_OF["small"])


def medium_rows(number: int) -> Rows:
    """Give rows of 10 KiB."""
    return rows(number, N_BYTES_OF["10 KiB"])


def large_rows(number: int) -> Rows:
    """Give rows of 1 MiB."""
    return rows(number, N_BYTES_OF["1 MiB"])


async def small_async(number: int) -> str:
    """Give a short text."""
    return text(number, N_BYTES_OF["small"])


async def medium_async(number: int) -> str:
    """Give a text of 10 KiB."""
    return text(number, N_BYTES_OF["10 KiB"])


async def large_async(number: int) -> str:
    """Give a text of 1 MiB."""
    return text(number, N_BYTES_OF["1 MiB"])


async def small_rows_async(number: int) -> Rows:
    """Give eight rows."""
    return rows(number, N_BYTES_OF["small"])


async def medium_rows_async(number: int) -> Rows:
    """Give rows of 10 KiB."""
    return rows(number, N_BYTES_OF["10 KiB"])


async def large_rows_async(number: int) -> Rows:
    """Give rows of 1 MiB."""
    return rows(number, N_BYTES_OF["1 MiB"])


def empty(number: int) -> int:
    """Do nothing."""
    return number


async def empty_async(number: int) -> int:
    """Do nothing."""
    return number


CALLED: list[None] = []
"""Grows by one with each call of `member`, so that a hit can be told from a build."""


def member(group: str, number: int) -> str:
    """Give one of a group."""
    CALLED.append(None)
    return f"{group} {number}"


async def member_async(group: str, number: int) -> str:
    """Give one of a group."""
    return member(group, number)


Body = Callable[..., Any]
# A plain function, and the same for awaiters.
BODIES: dict[str, tuple[Body, Body]] = {
    "small": (small, small_async),
    "10 KiB": (medium, medium_async),
    "1 MiB": (large, large_async),
    "small, mutable": (small_rows, small_rows_async),
    "10 KiB, mutable": (medium_rows, medium_rows_async),
    "1 MiB, mutable": (large_rows, large_rows_async),
    "empty": (empty, empty_async),
    "member": (member, member_async),
}
