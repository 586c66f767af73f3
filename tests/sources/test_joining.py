"""Many requests, few steps: who comes while one is under way goes with the next."""

import asyncio
from collections.abc import Sequence

import pytest

from everfresh import Cache, Event, InvalidEvent, Position, StoreUnavailable, dep
from everfresh.sources.joining import Joining
from everfresh.testing.waiting import soon


class Steps:
    """A cache that is busy until it is told to go on, and fails as it is told to."""

    def __init__(self) -> None:
        self.steps: list[list[str]] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Semaphore(0)
        self.errors: dict[str, Exception] = {}

    async def publish(self, *events: Event) -> Position:
        topics = [event.topic for event in events]
        self.steps.append(topics)
        self.began.set()
        await self.may_end.acquire()
        for topic in topics:
            if topic in self.errors:
                raise self.errors[topic]
        return Position("e1", len(self.steps))

    def go_on(self, n_steps: int = 1000) -> None:
        """So many steps may end."""
        for _ in range(n_steps):
            self.may_end.release()


async def together(joining: Joining, steps: Steps, *requests: Sequence[str]) -> list[asyncio.Task[Position]]:
    """Publish for all of them at once: the first is under way while the others come."""
    tasks = [asyncio.create_task(joining.publish([Event(topic) for topic in topics])) for topics in requests]
    await steps.began.wait()
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_for_a_step_goes_with_the_next() -> None:
    """All of them in one, in the order in which they came, and each is answered after its own."""
    steps = Steps()
    joining = Joining(steps)
    tasks = await together(joining, steps, ["a"], ["b", "c"], ["d"])

    assert not any(task.done() for task in tasks)
    steps.go_on()
    positions = await asyncio.gather(*tasks)

    assert steps.steps == [["a"], ["b", "c", "d"]]
    assert [position.text for position in positions] == [Position("e1", n).text for n in (1, 2, 2)]


async def test_a_step_does_not_grow_without_end() -> None:
    """More wait for the one after it; a request is never divided."""
    steps = Steps()
    joining = Joining(steps)
    tasks = await together(joining, steps, ["a"], ["b"] * 600, ["c"] * 600, ["d"] * 2000, ["e"])

    steps.go_on()
    await asyncio.gather(*tasks)

    assert [len(step) for step in steps.steps] == [1, 600, 600, 2000, 1]


async def test_a_store_that_fails_fails_for_all_who_were_in_the_step() -> None:
    """They come again; the next step is another."""
    steps = Steps()
    steps.errors["b"] = StoreUnavailable("store: away.")
    tasks = await together(Joining(steps), steps, ["a"], ["b"], ["c"])

    steps.go_on()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(outcomes[0], Position)
    assert [type(outcome) for outcome in outcomes[1:]] == [StoreUnavailable, StoreUnavailable]


async def test_an_event_that_cannot_be_published_is_only_its_senders() -> None:
    """The others are published without it."""
    steps = Steps()
    steps.errors["b"] = InvalidEvent("event: no.")
    tasks = await together(Joining(steps), steps, ["a"], ["b"], ["c"])

    steps.go_on()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [Position, InvalidEvent, Position]
    assert steps.steps == [["a"], ["b", "c"], ["b"], ["c"]]


async def test_who_leaves_while_waiting_takes_nobody_with_it() -> None:
    """Nor is it published for."""
    steps = Steps()
    tasks = await together(Joining(steps), steps, ["a"], ["b"], ["c"])

    tasks[1].cancel()
    steps.go_on()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert tasks[1].cancelled()
    assert steps.steps == [["a"], ["c"]]


async def test_who_leaves_while_publishing_for_others_does_not_lose_their_events() -> None:
    """Nobody knows whether the step was applied, so the next of them does it once more."""
    steps = Steps()
    joining = Joining(steps)
    tasks = await together(joining, steps, ["a"], ["b"], ["c"])
    steps.go_on(1)
    await tasks[0]
    await soon(lambda: len(steps.steps) == 2, what="the second step begins")

    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    steps.go_on()
    await tasks[2]

    assert tasks[1].cancelled()
    assert steps.steps == [["a"], ["b", "c"], ["c"]]


async def test_a_transaction_around_a_request_holds_back_no_events_of_others() -> None:
    """Nor its own: they are applied when it is answered."""
    async with Cache("memory:") as cache:
        await cache.put("a", 1, dep.Topic("a"))
        await cache.put("b", 1, dep.Topic("b"))
        joining = Joining(cache)

        async def within() -> None:
            async with cache.transaction():
                await joining.publish([Event("a")])
                raise ZeroDivisionError

        outcomes = await asyncio.gather(within(), joining.publish([Event("b")]), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, Position]
        assert (await cache.has("a"), await cache.has("b")) == (False, False)


@pytest.mark.parametrize("n", [0, 1])
async def test_no_events_have_a_position_too(n: int) -> None:
    """An empty batch is accepted."""
    steps = Steps()
    steps.go_on()

    assert await Joining(steps).publish([Event("a")] * n) == Position("e1", 1)
