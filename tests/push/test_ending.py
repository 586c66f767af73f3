"""Streams hear of the end of their process: from a server that offers that, else from signals."""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from everfresh.push.ending import EXTENSION, at_end, saying_goodbye


class Drained:
    """Counts how often it is drained."""

    def __init__(self) -> None:
        self.n = 0
        self.is_done = asyncio.Event()

    async def drain(self) -> None:
        self.n += 1
        self.is_done.set()


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What a server's own handlers hear."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, _: numbers.append(number))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_server_that_offers_to_call_is_taken_at_its_word() -> None:
    """It gets the function."""
    taken: list[object] = []
    at_end({"extensions": {EXTENSION: taken.append}}, print)

    assert taken == [print]


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {}}, {"extensions": {EXTENSION: {}}}])
def test_a_server_that_offers_nothing_is_asked_for_nothing(scope: dict[str, object]) -> None:
    """Any server will do."""
    at_end(scope, print)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_reaches_the_server(heard: list[int], number: signal.Signals) -> None:
    """Which would else wait for the streams."""
    one, other = Drained(), Drained()
    with saying_goodbye(one, other):
        signal.raise_signal(number)
        await one.is_done.wait()
        await other.is_done.wait()

    assert (one.n, other.n, heard) == (1, 1, [number])


async def test_afterwards_the_handlers_are_those_of_before(heard: list[int]) -> None:
    """And nobody is drained."""
    drained = Drained()
    with saying_goodbye(drained):
        pass
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)

    assert (drained.n, heard) == (0, [signal.SIGTERM])


async def test_who_takes_the_signal_later_keeps_it(heard: list[int]) -> None:
    """It is theirs."""
    drained = Drained()
    with saying_goodbye(drained):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_in_another_thread_nothing_is_done(heard: list[int]) -> None:
    """Only the main thread may handle signals."""

    async def run() -> None:
        with saying_goodbye(Drained()):
            pass

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()

    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
