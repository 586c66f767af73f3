"""Urgency over shards: what is taken next, of what was seen due on each."""

from everfresh.stores.redis.sharding_steps import Peeked
from everfresh.stores.redis.sharding_urgency import chosen, without

S = 1_000_000.0
FREE = {"f": 100}


def seen(*ranks: float) -> Peeked:
    """What a shard was seen to have of the only function."""
    return Peeked(((0, ranks, None, False),), 0.0)


def shards_of(peeked: list[Peeked], *, n_max: int, turn: int = 0, left: dict[str, int] = FREE) -> list[int]:
    choice = chosen(("f",), peeked, left, n_max=n_max, n_seen=32, turn=turn)
    return [shard for *_, shard, _ in choice.taken]


def test_the_most_urgent_goes_first_wherever_it_stands() -> None:
    """By a tenth of a second it is more urgent."""
    assert shards_of([seen(5 * S, 6 * S), seen(1 * S, 7 * S), seen(5.5 * S)], n_max=4) == [1, 0, 2, 0]


def test_what_is_about_as_urgent_is_taken_in_turns() -> None:
    """Some of each shard, so that all nodes have something to do."""
    alike = seen(*(S + number for number in range(32)))

    assert shards_of([alike, alike], n_max=48) == [0] * 16 + [1] * 16 + [0] * 16


def test_each_turn_begins_with_another_shard() -> None:
    """Else the first would be taken from until it has nothing more."""
    alike = seen(*(S + number for number in range(16)))

    assert [shards_of([alike] * 3, n_max=1, turn=turn) for turn in range(4)] == [[0], [1], [2], [0]]


def test_of_one_shard_the_lowest_rank_goes_first() -> None:
    """Also among those that are about as urgent."""
    choice = chosen(("f",), [seen(S + 1, S + 2), seen(S)], FREE, n_max=3, n_seen=32, turn=0)

    assert [rank for *_, rank, shard, _ in choice.taken if shard == 0] == [S + 1, S + 2]


def test_no_more_is_taken_than_is_left_of_a_function() -> None:
    """Whatever else is due."""
    assert shards_of([seen(S, S), seen(S)], n_max=3, left={"f": 2}) == [0, 0]


def test_a_shard_that_may_have_more_is_looked_at_again() -> None:
    """Where all that was seen of it is taken, there may be more that comes before others."""
    many, few = seen(*(S + number for number in range(4))), seen(9 * S)

    choice = chosen(("f",), [many, few], FREE, n_max=5, n_seen=4, turn=0)

    assert choice.hiding == [0]


def test_a_shard_with_more_that_is_less_urgent_is_not() -> None:
    """What was not seen of it would not be taken."""
    later, now = seen(*(9 * S + number for number in range(4))), seen(*(S + number for number in range(4)))

    choice = chosen(("f",), [later, now], FREE, n_max=3, n_seen=8, turn=0)

    assert choice.hiding == []
    assert choice.is_more


def test_what_was_taken_is_not_left() -> None:
    """The rest is, in its order."""
    peeked = [seen(S, 2 * S), seen(3 * S)]
    choice = chosen(("f",), peeked, FREE, n_max=1, n_seen=32, turn=0)

    assert without(("f",), peeked, choice.taken) == [seen(2 * S), seen(3 * S)]
