from math import inf

from hypothesis import given
from hypothesis import strategies as st

from everfresh.push.wheel import Wheel

TIMES = st.floats(0, 100)


@given(st.dictionaries(st.integers(0, 20), TIMES), st.lists(TIMES, min_size=1).map(sorted))
def test_everybody_is_due_once_and_at_most_a_tick_late(due_at: dict[int, float], nows: list[float]) -> None:
    """And never before the time."""
    wheel: Wheel[int] = Wheel(0.5)
    for item, at in due_at.items():
        wheel.put(item, at)
    taken: dict[int, float] = {}
    for now in nows:
        for item in wheel.due(now):
            assert item not in taken
            taken[item] = now

    for item, at in due_at.items():
        seen = [now for now in nows if now >= at]
        late = [now for now in nows if now >= at + 0.5]
        assert (item not in taken) or taken[item] in seen
        assert item in taken or not late
    assert len(wheel) == len(due_at.keys() - taken.keys())


def test_the_last_word_counts() -> None:
    """Whoever is put in again is due at the new time only, and who is taken out is not due."""
    wheel: Wheel[str] = Wheel(1)
    for item, at in [("a", 1), ("b", 1), ("a", 3), ("c", 2)]:
        wheel.put(item, at)
    wheel.discard("c")
    wheel.discard("nobody")

    assert wheel.due(2) == ["b"]
    assert wheel.due(3) == ["a"]
    assert len(wheel) == 0


def test_never_is_never() -> None:
    """And what is due already is due at the next look."""
    wheel: Wheel[str] = Wheel(1)
    wheel.put("a", inf)
    assert wheel.due(1e9) == []

    wheel.put("b", 5)
    assert wheel.due(1e9) == []
    assert wheel.due(1e9 + 1) == ["b"]
