"""Types of values that the tests of values share."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import msgspec
from pydantic import BaseModel, Field, computed_field


class State(Enum):
    OPEN = "open"


@dataclass
class Issue:
    title: str
    labels: list[str]


@dataclass(frozen=True)
class Label:
    name: str
    parents: tuple[str, ...] = ()


class Report(msgspec.Struct):
    issues: list[Issue]
    state: State = State.OPEN


class Table(msgspec.Struct):
    rows: dict[int, dict[date, set[str]]]


class Count(msgspec.Struct, frozen=True):
    n: int


class Folder(msgspec.Struct, frozen=True):
    """Frozen itself; what is in it is not."""

    names: list[str]


class Person(BaseModel):
    name: str
    tags: list[str] = []


class FromApi(BaseModel):
    """As people write models for somebody else's JSON."""

    user_id: int = Field(alias="userId")
    people: list[Person] = []


class Checked(BaseModel, strict=True, extra="forbid"):
    at: datetime

    @computed_field
    @property
    def year(self) -> int:
        return self.at.year


class Span(NamedTuple):
    start: date
    length: timedelta


class Money(msgspec.Struct, frozen=True):
    amount: Decimal
    account: UUID
