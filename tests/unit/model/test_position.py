import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.model.errors import InvalidPosition
from everfresh.model.position import Position

PARTS = st.tuples(st.from_regex(r"[0-9a-z]{1,64}", fullmatch=True), st.integers(0, 10**18 - 1))
POSITIONS = st.lists(PARTS, min_size=1, max_size=16).map(Position.of)


@given(POSITIONS)
def test_a_position_survives_as_text(position: Position) -> None:
    """A browser gives back what it was given."""
    assert Position.parse(position.text) == position


@given(st.from_regex(r"[0-9a-z]{1,3}\.[0-9]{1,3}", fullmatch=True))
def test_a_position_is_written_in_one_way(text: str) -> None:
    """Two texts are never one position, so texts may be compared."""
    try:
        position = Position.parse(text)
    except InvalidPosition:
        return

    assert position.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e1",
        "e1.",
        ".1",
        "e1.-1",
        "E1.1",
        "e1.1 ",
        "e1.1\n",
        "e1.01",
        "e1.²",
        "é.1",
        "e" * 65 + ".1",
        "e1." + "9" * 19,
        "e1.1-",
        "-e1.1",
        "e1.1--e2.2",
        "-".join(["e1.1"] * 1_025),
    ],
)
def test_a_text_that_no_position_wrote_is_refused(text: str) -> None:
    """Positions come back from browsers, which may hold anything."""
    with pytest.raises(InvalidPosition, match="is not one"):
        Position.parse(text)


@pytest.mark.parametrize(
    ("position", "covers"),
    [(Position("e1", 8), True), (Position("e1", 7), True), (Position("e1", 6), False), (Position("e2", 8), False)],
    ids=["later", "equal", "earlier", "other-epoch"],
)
def test_positions_compare_within_one_life_of_the_store(position: Position, covers: bool) -> None:
    """A store that lost its memory counts anew, so its numbers say nothing about the old ones."""
    assert position.covers(Position("e1", 7)) is covers


@pytest.mark.parametrize(
    ("parts", "covers"),
    [
        ([("a", 5), ("b", 5)], True),
        ([("a", 6), ("b", 9)], True),
        ([("a", 9), ("b", 4)], False),
        ([("a", 5), ("c", 1)], True),
        ([("a", 5)], True),
        ([("b", 4)], False),
        ([("c", 9)], False),
        ([("c", 9), ("d", 9)], False),
    ],
)
def test_positions_of_shards_compare_where_both_have_an_epoch(parts: list[tuple[str, int]], covers: bool) -> None:
    """An entry's own position is of its shard alone, and an event was applied to each; a lost shard says nothing."""
    assert Position.of(parts).covers(Position.of([("a", 5), ("b", 5)])) is covers


def test_a_position_knows_its_parts() -> None:
    """By epoch, of which each shard has its own."""
    position = Position("a", 1, (("b", 2), ("c", 3)))

    assert [position.sequence_in(epoch) for epoch in "abcd"] == [1, 2, 3, None]
    assert position.text == "a.1-b.2-c.3"
    assert Position.parse("a.1-b.2-c.3").parts() == (("a", 1), ("b", 2), ("c", 3))
