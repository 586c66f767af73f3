"""Early: what the blocking read of a feed's stream brought, told before `follow` has said whether it counts.

To ask is a way there and back, for which whoever refreshes need not wait. Nobody relies on what is told early: it is no
renewal, `follow` tells what is missing here, and a record too many does a listener no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from everfresh.model.entry import FeedRecord
from everfresh.model.position import Position
from everfresh.stores.redis.wire_replies import Record, records_of

# Of many that come together the first few are told early; for more it is not worth being read twice.
N_EARLY = 8
GIVE_WAY_S = 0.002
"""For how long who was told early goes first: it has something to do, and needs the same interpreter and server."""

_decode = msgspec.msgpack.Decoder(Record).decode


def early(items: Sequence[Any]) -> tuple[FeedRecord, ...]:
    """The records that a read of the stream brought; none where it holds what is not the store's."""
    try:
        return records_of(_decode(packed) for _, (_, packed) in items)
    except (ValueError, TypeError, msgspec.MsgspecError):
        # The next step finds that out, and says so.
        return ()


def last_of(records: Sequence[FeedRecord], told: Position) -> Position:
    """How far was told with these."""
    return Position(told.epoch, records[-1].sequence)


def untold(records: tuple[FeedRecord, ...], early: Position | None, position: Position) -> tuple[FeedRecord, ...]:
    """Those that were not told early; all, where the position is of another life than what was."""
    if early is None or early.epoch != position.epoch:
        return records
    return tuple(record for record in records if record.sequence > early.sequence)
