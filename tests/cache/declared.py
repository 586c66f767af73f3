"""Types of arguments and functions that two processes of a test declare alike."""
# ruff: noqa: ANN401 - values of any type are what is tested

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel, Field

from everfresh import Cache, SyncFunction, dep

ARGUMENTS_CHANGED = dep.Tag("arguments")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Access(IntFlag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Filter(msgspec.Struct):
    word: str
    limit: int = 10


class Query(BaseModel):
    word: str
    since: date | None = None
    user_id: int = Field(default=0, alias="userId")


class Pair(NamedTuple):
    left: int
    right: int


class Built(msgspec.Struct, frozen=True):
    """What a build saw of its arguments, and in which process."""

    pid: int
    arguments: str


def _built(*arguments: object) -> Built:
    return Built(os.getpid(), repr(arguments))


def declare(cache: Cache) -> Mapping[str, SyncFunction[..., Built]]:  # noqa: C901 - a list, not branches
    """Functions with all kinds of parameters."""
    cached = cache.cached(depends_on=[ARGUMENTS_CHANGED])

    @cached
    def anything(value: Any) -> Built:
        return _built(value)

    @cached
    def enum(value: Colour) -> Built:
        return _built(value)

    @cached
    def flag(value: Access) -> Built:
        return _built(value)

    @cached
    def point(value: Point) -> Built:
        return _built(value)

    @cached
    def struct(value: Filter | None) -> Built:
        return _built(value)

    @cached
    def model(value: Query) -> Built:
        return _built(value)

    @cached
    def models(value: list[Query]) -> Built:
        return _built(value)

    @cached
    def pair(value: Pair) -> Built:
        return _built(value)

    @cached
    def colours(*values: Colour, **named: Point) -> Built:
        return _built(values, named)

    @cached
    def mixed(first: int, /, second: str = "b", *rest: int, last: bool = False, **others: str) -> Built:
        return _built(first, second, rest, last, others)

    functions = (anything, enum, flag, point, struct, model, models, pair, colours, mixed)
    return {function.name.split(".")[-1].removesuffix("@1"): function for function in functions}


PLAIN_ARGUMENTS: list[object] = [
    None,
    True,
    0,
    -(2**63),
    2**70,
    1.5,
    float("inf"),
    "",
    "ä\n\"'",
    b"\x00\xff",
    [1, "a", None],
    (1, (2,)),
    {1, 2},
    frozenset({"a"}),
    {"a": 1, "b": [1]},
    {1: "a", (2, 3): "b"},
    date(2024, 2, 29),
    time(12, 30),
    datetime(2024, 2, 29, 12, 30, 1, 2),  # noqa: DTZ001 - a moment without a zone is an argument too
    datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 10, 27, 2, 30, tzinfo=timezone(timedelta(hours=1))),
    datetime(2024, 10, 27, 2, 30, tzinfo=UTC),
    time(2, 30, fold=1),
    timedelta(days=-1, microseconds=5),
    Decimal("1.10"),
    UUID("12345678-1234-5678-1234-567812345678"),
]

# The function's name, its positional arguments, its keywords.
Call = tuple[str, tuple[Any, ...], dict[str, Any]]
CALLS: list[Call] = [
    *[("anything", (value,), {}) for value in PLAIN_ARGUMENTS],
    ("enum", (Colour.BLUE,), {}),
    ("flag", (Access.READ | Access.WRITE,), {}),
    ("point", (Point(1, 2),), {}),
    ("struct", (Filter("tea"),), {}),
    ("struct", (None,), {}),
    ("model", (Query(word="tea", since=date(2024, 1, 1), userId=7),), {}),
    ("models", ([Query(word="a"), Query(word="b")],), {}),
    ("pair", (Pair(1, 2),), {}),
    ("colours", (Colour.RED, Colour.BLUE), {"here": Point(0, 0)}),
    ("mixed", (1,), {}),
    ("mixed", (1, "x", 3, 4), {"last": True, "other": "y"}),
    ("mixed", (1,), {"second": "z", "first": "not the positional one"}),
]
