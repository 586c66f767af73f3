"""Searching for an order of troubles in which a message is lost, or acknowledged too early."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfresh import Event, StoreUnavailable
from everfresh.model.message import Message
from everfresh.sources.consuming import Consumer
from everfresh.sources.source import Batch
from everfresh.testing.broker import FakeBroker
from everfresh.testing.timeless import elapse, run_timeless
from tests.sources.consumed import World, message

pytestmark = [pytest.mark.searching, pytest.mark.usefixtures("quiet")]

# What happens, and how much of it.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 600)),
        st.tuples(st.just("publish much"), st.integers(200, 500)),
        st.tuples(st.just("publish nonsense"), st.integers(1, 3)),
        st.tuples(st.just("trim"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["disconnect", "fall silent", "kill", "end", "start", "down", "up"]), st.just(0)),
        st.tuples(st.sampled_from(["fail before", "fail after"]), st.integers(1, 4)),
        st.tuples(st.just("turn"), st.integers(1, 12)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
    ),
    max_size=20,
)
FAILING = ("apply", "suspect", "quarantine", "read")


class History:
    """A world and a broker, what was done with each message, and what must hold of that at any moment."""

    def __init__(self, *, has_positions: bool) -> None:
        self.world = World()
        self.broker = FakeBroker(has_positions=has_positions, on_acknowledge=self.acknowledged)
        self.n_published = 0
        self.settled: set[int] = set()
        self.lost: list[tuple[int, int]] = []
        self.n_suspected = 0
        self.faults: deque[str] = deque()
        self.task: asyncio.Task[None] | None = None
        self.early: set[int] = set()
        sources = self.world.cache.sources
        self.read = sources.read
        for name in FAILING:
            setattr(sources, name, self.failing(name, getattr(sources, name)))

    def failing(self, name: str, carry_out: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        """The operation, which fails before or after it is carried out, as the history says."""

        async def ask(*args: Any, **options: object) -> object:  # noqa: ANN401 - of whichever operation
            fault = self.faults.popleft() if self.faults else ""
            await asyncio.sleep(0)
            if fault == "fail before":
                raise StoreUnavailable("away")
            answer = await carry_out(*args, **options)
            self.note(name, args[0] if args else ())
            if fault == "fail after":
                raise StoreUnavailable("away")
            return answer

        return ask

    def note(self, name: str, what: Sequence[Any]) -> None:
        """The store has carried it out."""
        if name == "apply":
            self.settled.update(event.body["number"] for event in what if isinstance(event, Event))
        elif name == "quarantine":
            self.settled.update(int(one.message.id) for one in what)
        elif name == "suspect":
            self.n_suspected += 1

    def acknowledged(self, batch: Batch) -> None:
        """Nothing is acknowledged before it is settled."""
        self.early |= {int(message.id) for message in batch.messages} - self.settled

    async def check(self) -> None:
        """The offset never stands for what has not been settled, but for what was lost and told of."""
        assert not self.early
        states = (await self.read(["fake"])).states
        offset = int(states[0].offset or 0) if states else 0
        self.explained(set(range(1, offset + 1)))

    def explained(self, numbers: set[int]) -> None:
        """Each was settled, or was trimmed and has made suspect since then what might depend on it."""
        for number in numbers - self.settled:
            assert any(trimmed >= number and self.n_suspected > before for trimmed, before in self.lost), number

    async def play(self, step: tuple[str, int]) -> None:
        """Let one thing happen."""
        what, n = step
        match what:
            case "publish" | "publish much" | "publish nonsense":
                self.publish(what, n)
            case "trim":
                self.lost.append((self.n_published - n, self.n_suspected))
                self.broker.trim(n)
            case "kill" | "end":
                await self.end(is_killed=what == "kill")
            case "start":
                self.start()
            case "fail before" | "fail after":
                self.faults.extend([what] * n)
            case "turn":
                for _ in range(n):
                    await asyncio.sleep(0)
            case "wait":
                await elapse(n)
            case _:
                self.trouble(what)

    def trouble(self, what: str) -> None:
        """Something happens to the broker."""
        match what:
            case "disconnect":
                self.broker.disconnect()
            case "fall silent":
                self.broker.fall_silent()
            case _:
                self.broker.is_down = what == "down"

    def publish(self, what: str, n: int) -> None:
        """Publish messages, each with its number as its id."""
        # So many of these are more than a step should write.
        text = "x" * 6_000 if what == "publish much" else ""
        for _ in range(n):
            self.n_published += 1
            body = message("thing.moved", number=self.n_published, text=text).body
            nonsense = what == "publish nonsense"
            self.broker.publish(Message(topic="thing.moved", body=b"{" if nonsense else body, id=str(self.n_published)))

    def start(self) -> None:
        """Start the consumer, unless it runs."""
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.world.cache.consume(Consumer(self.broker)))

    async def end(self, *, is_killed: bool) -> None:
        """End the consumer, in good order or without any."""
        if self.task is None:
            return
        self.task.cancel()
        if is_killed:
            for _ in range(3):
                await asyncio.sleep(0)
                self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@pytest.mark.parametrize("has_positions", [True, False])
@settings(deadline=None, max_examples=100)
@given(steps=STEPS)
def test_nothing_is_lost_or_acknowledged_early(has_positions: bool, steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: in the end all was settled, or what it concerned is suspect."""

    async def main() -> None:
        history = History(has_positions=has_positions)
        async with history.world.cache:
            history.start()
            for step in steps:
                await history.play(step)
                await history.check()
            history.broker.is_down = False
            history.faults.clear()
            # One that has fallen silent is not noticed here, so it is broken.
            history.broker.disconnect()
            history.start()
            await elapse(90)
            await history.check()
            history.explained(set(range(1, history.n_published + 1)))
            if not has_positions:
                assert history.broker.n_waiting == 0
            await history.end(is_killed=False)

    run_timeless(main())
