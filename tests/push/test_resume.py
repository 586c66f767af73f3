import pytest

from everfresh.model.entry import State
from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part
from everfresh.push.resume import part_owed, place_of, rank_of, start_of
from everfresh.push.topics import Cursor, Unknown
from tests.push.making import at, entry
from tests.push.sse import parsed


def said(frames: tuple[Frame, ...]) -> list[tuple[str, str, str]]:
    events = parsed(b"".join(frame.wire for frame in frames))
    return [(event.event, event.data["position"], event.id) for event in events]


def test_a_client_without_a_cursor_is_owed_everything() -> None:
    """It shows nothing, so there is nothing to reset either; no id, as it has reached nothing yet."""
    start = start_of(None, newest=at(9), handed_out=at(8), heartbeat_s=20)

    assert said(start.frames) == [("hello", "e1.8", "")]
    assert start.cursor is None


@pytest.mark.parametrize("sequence", [0, 5, 8, 9])
def test_a_cursor_of_this_life_resumes(sequence: int) -> None:
    """It stays where it is until what is owed was sent; a page may be newer than the fan-out."""
    start = start_of(at(sequence), newest=at(9), handed_out=at(8), heartbeat_s=20)

    assert said(start.frames) == [("hello", f"e1.{sequence}", f"e1.{sequence}")]
    assert start.cursor == at(sequence)


@pytest.mark.parametrize("cursor", [at(5, "e0"), at(10), Unknown()], ids=["other-epoch", "future", "unreadable"])
def test_a_cursor_that_proves_nothing_starts_over(cursor: Cursor) -> None:
    """No position for an id: a client that is cut off now has still to start over."""
    start = start_of(cursor, newest=at(9), handed_out=at(8), heartbeat_s=20)

    assert said(start.frames) == [("hello", "e1.8", ""), ("reset", "e1.8", "reset")]
    assert start.cursor is None


@pytest.mark.parametrize(
    ("cursor", "changed_at", "part"),
    [(at(5), 6, Part.VALUE), (at(5), 5, Part.STATE), (at(5), 4, Part.STATE), (None, 4, Part.VALUE)],
)
def test_only_a_newer_value_is_owed(cursor: Position | None, changed_at: int, part: Part) -> None:
    """Of the rest the state, which may have changed without a new value."""
    assert part_owed(entry(changed_at=changed_at), cursor) is part


def test_a_value_of_another_life_is_owed() -> None:
    """Positions of two lives cannot be compared."""
    assert part_owed(entry(changed_at=1, epoch="e0"), at(5)) is Part.VALUE


@pytest.mark.parametrize("cursor", [at(5), None])
def test_word_is_owed_of_an_entry_that_is_gone(cursor: Position | None) -> None:
    """The page may show what was dropped."""
    assert part_owed(None, cursor) is Part.STATE


@pytest.mark.parametrize(
    ("changed_at", "epoch", "place"), [(6, "e1", at(6)), (8, "e1", at(8)), (9, "e1", at(8)), (6, "e0", None)]
)
def test_an_id_never_lies_beyond_what_was_handed_out(changed_at: int, epoch: str, place: Position | None) -> None:
    """Commits of other entries between the two may still be on their way."""
    assert place_of(entry(changed_at=changed_at, epoch=epoch), Part.VALUE, at(8)) == place


def test_a_state_claims_nothing() -> None:
    """It was read now, not at a place in the feed."""
    assert place_of(entry(state=State.DIRTY), Part.STATE, at(8)) is None
    assert place_of(None, Part.STATE, at(8)) is None


def test_what_is_owed_goes_by_what_it_shows() -> None:
    """An id claims every change up to it, and one that is held back claims those before it too."""
    places = [(None, None), (8, 9), (8, 8), (3, 3)]
    frames = [
        Frame(wire=b"", at=None if id_ is None else at(id_), changed_at=None if changed is None else at(changed))
        for id_, changed in places
    ]

    assert sorted(frames, key=rank_of) == frames[::-1]
