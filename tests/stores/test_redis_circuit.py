"""The circuit: who fails while nobody answers fails at once, and one thread finds out when somebody does."""

import threading

import pytest
from redis import exceptions

from everfresh.model.errors import StoreClosed
from everfresh.stores.redis.circuit import UNHEARD_S, Circuit, Prober
from everfresh.stores.redis.servers import Look
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import DEADLINE_S, until


def test_a_server_that_answers_is_asked() -> None:
    """By everybody, and an answer is no news."""
    circuit = Circuit(FakeClock())

    assert [circuit.admits(), circuit.admits(), circuit.note_answer(), circuit.is_closed] == [True, True, False, True]


def test_after_a_failure_nobody_asks() -> None:
    """That it failed is news once, and that it answers."""
    circuit = Circuit(FakeClock())

    assert [circuit.note_failure(), circuit.note_failure()] == [True, False]
    assert [circuit.admits(), circuit.admits(), circuit.is_closed] == [False, False, False]
    assert [circuit.note_answer(), circuit.note_answer()] == [True, False]
    assert circuit.admits()


def test_when_nobody_is_heard_of_one_tries_for_all() -> None:
    """Whoever was to ask again may be gone."""
    clock = FakeClock()
    circuit = Circuit(clock)
    circuit.note_failure()
    clock.advance(UNHEARD_S / 2)
    circuit.note_failure()
    clock.advance(UNHEARD_S / 2)
    assert not circuit.admits()

    clock.advance(UNHEARD_S / 2)

    assert [circuit.admits(), circuit.admits()] == [True, False]


def test_the_prober_asks_until_it_is_answered() -> None:
    """One thread, however many want it; and once more when it is wanted again."""
    answers = [exceptions.ConnectionError("gone"), OSError("gone"), None, None]
    asked: list[str] = []

    def ask() -> None:
        asked.append(threading.current_thread().name)
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    prober = Prober(ask)
    for _ in range(3):
        prober.start()
    until(lambda: len(asked) == 3, what="an answer")
    until(lambda: _is_done(prober), what="the end of the thread")
    prober.start()
    until(lambda: len(asked) == 4, what="another answer")

    assert set(asked) == {"everfresh-prober"}


def test_a_prober_that_is_stopped_asks_no_more() -> None:
    """Nor does one whose store was closed."""
    for is_closed in (False, True):
        asked = threading.Event()

        def ask(is_closed: bool = is_closed, asked: threading.Event = asked) -> None:
            asked.set()
            if is_closed:
                raise StoreClosed("closed")
            raise OSError("gone")

        prober = Prober(ask)
        prober.start()
        assert asked.wait(DEADLINE_S)
        prober.stop()
        until(lambda: "everfresh-prober" not in {thread.name for thread in threading.enumerate()}, what="its end")


def test_nobody_sits_through_one_silence_after_the_other() -> None:
    """Who waits for his turn to look is told of what the one before him has met; who comes then looks himself."""
    look = Look()
    told: list[str] = []

    def wait_for_turn() -> None:
        try:
            with look.turn():
                told.append("looked")
        except exceptions.ConnectionError as error:
            told.append(str(error))

    waiter = threading.Thread(target=wait_for_turn)

    def meet_silence() -> None:
        with look.turn():
            waiter.start()
            until(lambda: look.n_waiting == 1, what="somebody waits")
            raise exceptions.TimeoutError("silence")

    with pytest.raises(exceptions.TimeoutError):
        meet_silence()
    waiter.join()
    wait_for_turn()

    assert told == ["silence", "looked"]


def _is_done(prober: Prober) -> bool:
    return prober._thread is None  # noqa: SLF001 - nobody else need know
