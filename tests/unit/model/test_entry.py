from enum import Enum

import msgspec
import pytest

from everfresh.model.entry import Entry, FeedRecord, Key, Kind, Lease, OnChange, Recipe, State
from everfresh.model.event import Event
from everfresh.model.marks import override
from everfresh.model.position import Position

ENTRY = Entry(
    key=Key("f(1)"),
    function="f",
    state=State.DIRTY,
    version=3,
    value=b"\x01",
    digest="d",
    position=Position("e1", 7),
    changed_at=Position("e1", 5),
    built_at=1.5,
    build_s=0.25,
    stale_since=2.5,
    reason="event a",
)
CROSSING = [
    ENTRY,
    Recipe("f", b"\x80"),
    Lease(key=Key("f(1)"), token=4, begun=Position("e1", 7), until=9.0),
    FeedRecord(8, Key("f(1)"), Kind.CHANGED, 3, "d"),
    Event.change("article", before={"id": 1}, after={"id": 2}, changed=["id"]),
    Event.unknown("article"),
]


@pytest.mark.parametrize("word", CROSSING, ids=lambda word: type(word).__name__ + getattr(word, "topic", ""))
def test_what_crosses_a_process_comes_back_equal(word: msgspec.Struct) -> None:
    """Stores and buses write these as msgpack."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(word), type=type(word)) == word


@pytest.mark.parametrize("word", CROSSING, ids=lambda word: type(word).__name__ + getattr(word, "topic", ""))
def test_what_crosses_a_process_cannot_be_changed(word: msgspec.Struct) -> None:
    """One object is shared by all who read it."""
    with pytest.raises(AttributeError):
        setattr(word, word.__struct_fields__[0], None)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (State, ["fresh", "suspect", "dirty", "building", "failed"]),
        (OnChange, ["refresh", "drop"]),
        (Kind, ["changed", "fresh", "stale", "failed", "dropped"]),
    ],
    ids=["state", "on-change", "kind"],
)
def test_words_stand_as_plain_text_in_stores_and_pages(words: type[Enum], texts: list[str]) -> None:
    """A file of today is read by the code of tomorrow."""
    assert [word.value for word in words] == texts


def test_override_leaves_a_method_as_it_is() -> None:
    """The mark is for the type checker and costs a caller nothing."""

    def method() -> str:
        return "called"

    assert override(method) is method


@pytest.mark.parametrize(
    ("expires_at", "look_at", "ends_at"),
    [(None, None, None), (1.0, None, 1.0), (None, 2.0, 2.0), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0)],
)
def test_an_entry_is_over_at_the_first_of_its_ends(
    expires_at: float | None, look_at: float | None, ends_at: float | None
) -> None:
    """Its lifetime, or when somebody is to look again for what an event told of; at that very moment."""
    made = msgspec.structs.replace(ENTRY, expires_at=expires_at, look_at=look_at)

    assert made.ends_at() == ends_at
    assert not made.is_over(0.5)
    assert made.is_over(2.0) is (ends_at is not None)
    assert ends_at is None or made.is_over(ends_at)
