import pytest

from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.model.position import Position
from everfresh.protocol.bringing import Brought
from everfresh.protocol.requests import FeedBatch
from everfresh.push.changes import Change, brought, changes_of, is_overtaken
from everfresh.push.frames import Part
from tests.push.making import at, entry

A, B = Key("a"), Key("b")


def records(*what: tuple[Key, Kind]) -> list[FeedRecord]:
    return [FeedRecord(n, key, kind, 1, "d") for n, (key, kind) in enumerate(what, start=1)]


def test_what_nobody_watches_is_passed_over() -> None:
    """It is not even loaded."""
    assert changes_of(records((A, Kind.CHANGED), (B, Kind.CHANGED)), {B}) == [Change(B, 2, Part.VALUE)]


def test_several_new_values_are_one_change_at_the_last() -> None:
    """The value that is loaded is the newest anyway."""
    batch = records((A, Kind.CHANGED), (B, Kind.CHANGED), (A, Kind.CHANGED))

    assert changes_of(batch, {A, B}) == [Change(B, 2, Part.VALUE), Change(A, 3, Part.VALUE)]


def test_a_value_is_not_put_off_by_word_of_a_state() -> None:
    """At 3 it would come after the id 2, which claims it; and who has the value already needs the state."""
    batch = records((A, Kind.CHANGED), (B, Kind.CHANGED), (A, Kind.STALE))

    changes = changes_of(batch, {A, B})

    assert changes == [Change(A, 1, Part.VALUE), Change(B, 2, Part.VALUE), Change(A, 3, Part.STATE)]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CHANGED])
def test_all_else_is_word_of_a_state_at_the_last(kind: Kind) -> None:
    """A value follows it at its own place."""
    assert changes_of(records((A, kind), (A, kind)), {A}) == [Change(A, 2, Part.STATE)]
    assert changes_of(records((A, kind), (A, Kind.CHANGED)), {A}) == [Change(A, 2, Part.VALUE)]


@pytest.mark.parametrize(
    ("part", "changed_at", "epoch", "is_late"),
    [
        (Part.STATE, 5, "e1", False),
        (Part.STATE, 6, "e1", True),
        (Part.STATE, 6, "e0", False),
        (Part.VALUE, 6, "e1", False),
    ],
)
def test_word_of_a_state_is_late_once_there_is_a_newer_value(
    part: Part, changed_at: int, epoch: str, is_late: bool
) -> None:
    """The value brings its own state."""
    late = is_overtaken(Change(A, 5, part), entry(changed_at=changed_at, epoch=epoch), at(9).epoch)

    assert late is is_late


def test_word_that_an_entry_is_gone_is_never_late() -> None:
    """Nothing follows it."""
    assert not is_overtaken(Change(A, 5, Part.STATE), None, at(9).epoch)


@pytest.mark.parametrize(
    ("changed_at", "epoch", "is_taken"),
    [(5, "e1", True), (6, "e1", True), (4, "e1", False), (6, "e0", False), (6, "e2", False)],
)
def test_an_entry_that_came_along_is_taken_unless_it_is_older_than_its_record(
    changed_at: int, epoch: str, is_taken: bool
) -> None:
    """It may have been read before the feed was; of another life nothing can be said."""
    came = {A: entry("a", changed_at=changed_at, epoch=epoch)}

    found = brought([Change(A, 5, Part.VALUE)], Brought((), at(7), entries=came))

    assert found == (came if is_taken else {})


def test_of_an_entry_of_another_shard_its_own_place_counts() -> None:
    """Those of the first have nothing to do with it."""
    position = Position.of([("e1", 70), ("e2", 7)])
    came = {A: entry("a", changed_at=5, epoch="e2"), B: entry("b", changed_at=5, epoch="e3")}

    found = brought([Change(A, 5, Part.VALUE), Change(B, 5, Part.VALUE)], Brought((), position, entries=came))

    assert found.keys() == {A}


def test_an_entry_of_whose_state_there_is_word_too_is_loaded_anew() -> None:
    """Its value may have been read before that."""
    came = {A: entry("a", changed_at=5), B: entry("b", changed_at=5)}
    changes = [Change(A, 5, Part.VALUE), Change(A, 6, Part.STATE), Change(B, 7, Part.STATE)]

    assert brought(changes, Brought((), at(7), entries=came)) == {}
    assert brought(changes[:1], FeedBatch((), at(7))) == {}
