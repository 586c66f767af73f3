"""Entries, records and positions for tests of what is decided about them."""

import msgspec

from everfresh.model.entry import Entry, Key, State
from everfresh.model.position import Position

EPOCH = "e1"


def at(sequence: int, epoch: str = EPOCH) -> Position:
    return Position(epoch, sequence)


def entry(
    key: str = "k",
    *,
    version: int = 1,
    changed_at: int = 1,
    state: State = State.FRESH,
    value: object = "v",
    epoch: str = EPOCH,
) -> Entry:
    return Entry(
        key=Key(key),
        function="f",
        state=state,
        version=version,
        value=msgspec.msgpack.encode(value),
        digest="d",
        position=at(changed_at, epoch),
        changed_at=at(changed_at, epoch),
        built_at=100.5,
        build_s=0.25,
    )
