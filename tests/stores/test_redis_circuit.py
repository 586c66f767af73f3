"""The circuit: who fails while nobody answers fails at once, and one at a time finds out when somebody does."""

from everfresh.stores.redis.circuit import FIRST_PAUSE_S, LONGEST_PAUSE_S, Circuit
from everfresh.testing.clock import FakeClock


def test_a_server_that_answers_is_asked() -> None:
    """By everybody, and an answer is no news."""
    circuit = Circuit(FakeClock())

    assert [circuit.admits(), circuit.admits(), circuit.note_answer(), circuit.is_closed] == [True, True, False, True]


def test_after_a_failure_nobody_asks_for_a_while() -> None:
    """That it failed is news once."""
    clock = FakeClock()
    circuit = Circuit(clock)

    news = [circuit.note_failure(), circuit.note_failure()]

    assert news == [True, False]
    assert not circuit.admits()
    clock.advance(2 * FIRST_PAUSE_S)
    assert circuit.admits()


def test_one_tries_for_all() -> None:
    """The others are refused until it knows, or has been away for as long as the pause."""
    clock = FakeClock()
    circuit = Circuit(clock)
    circuit.note_failure()
    clock.advance(FIRST_PAUSE_S)

    assert [circuit.admits(), circuit.admits()] == [True, False]
    clock.advance(FIRST_PAUSE_S)
    assert [circuit.admits(), circuit.admits()] == [True, False]
    assert circuit.note_answer()
    assert [circuit.admits(), circuit.admits()] == [True, True]


def test_each_failure_doubles_the_pause() -> None:
    """Up to a bound, so that who is back is found soon."""
    clock = FakeClock()
    circuit = Circuit(clock)
    pauses: list[float] = []
    for _ in range(12):
        circuit.note_failure()
        began = clock()
        while not circuit.admits():
            clock.advance(FIRST_PAUSE_S / 2)
        pauses.append(round(clock() - began, 6))

    assert pauses[:4] == [FIRST_PAUSE_S * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == LONGEST_PAUSE_S
