"""Changes: what a batch of the feed means for those who watch. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from everfresh.model.entry import Entry, FeedRecord, Key, Kind
from everfresh.model.position import Position
from everfresh.protocol.bringing import Brought
from everfresh.protocol.requests import FeedBatch
from everfresh.push.frames import Part


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a batch: its value or only its state changed, as of the record `sequence`."""

    key: Key
    sequence: int
    part: Part


def changes_of(records: Iterable[FeedRecord], watched: Container[Key]) -> list[Change]:
    """The changes of watched keys, in order: of each the last new value, and the last word of its state after that.

    A value stays at its place: put off to the state after it, it would be claimed by the ids in between. A state does
    not vanish in the value before it, which is passed over for those who were just sent that value.
    """
    found: dict[tuple[Key, Part], Change] = {}
    for record in records:
        if record.key not in watched:
            continue
        part = Part.VALUE if record.kind is Kind.CHANGED else Part.STATE
        if part is Part.VALUE:
            found.pop((record.key, Part.STATE), None)
        found.pop((record.key, part), None)
        found[record.key, part] = Change(record.key, record.sequence, part)
    return list(found.values())


def epoch_of(entry: Entry | None, position: Position) -> str:
    """The epoch of the shard whose feed told of the entry; empty when nobody can say, as it is gone."""
    if not position.others:
        return position.epoch
    if entry is None or position.sequence_in(entry.changed_at.epoch) is None:
        return ""
    return entry.changed_at.epoch


def is_overtaken(change: Change, entry: Entry | None, epoch: str) -> bool:
    """Whether word of a state comes too late: the entry has a newer value by now, whose own record is on its way."""
    if change.part is Part.VALUE or entry is None:
        return False
    return entry.changed_at.epoch == epoch and entry.changed_at.sequence > change.sequence


def brought(changes: Iterable[Change], batch: FeedBatch) -> Mapping[Key, Entry]:
    """The entries that came with the batch and show what the changes tell of.

    None that is older than its record, and none of which more was told than that it has a new value: the feed may have
    been read after it.
    """
    found: dict[Key, Entry] = {}
    if not isinstance(batch, Brought):
        return found
    for change in changes:
        entry = batch.entries.get(change.key)
        if entry is not None and _shows(entry, change, epoch_of(entry, batch.position)):
            found[change.key] = entry
        else:
            # Of values and states, the value stands first.
            found.pop(change.key, None)
    return found


def _shows(entry: Entry, change: Change, epoch: str) -> bool:
    is_as_new = entry.changed_at.epoch == epoch and entry.changed_at.sequence >= change.sequence
    return is_as_new and change.part is Part.VALUE
