"""Which topics a source is asked for, what was missed of them, and what consumers tell of themselves."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta

import pytest

from everfresh import Event, dep
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Report
from everfresh.sources.canary import PATTERN, Canary
from everfresh.sources.consuming import Consumer, consumer_name
from everfresh.sources.formats import Plain
from everfresh.testing.broker import FakeBroker
from everfresh.testing.timeless import elapse, run_timeless
from tests.sources.consumed import AWAY, World, message

pytestmark = pytest.mark.usefixtures("quiet")

Test = Callable[[World], Awaitable[None]]


def play(test: Test) -> None:
    """Play it in a world of its own, where waiting takes no time."""

    async def main() -> None:
        world = World()
        async with world.cache:
            await test(world)

    run_timeless(main())


def test_a_source_is_asked_for_what_functions_depend_on() -> None:
    """And for canaries when there are some; for nothing else."""

    async def test(world: World) -> None:
        broker = FakeBroker(binds=True, has_positions=False)
        async with world.consuming(broker):
            await elapse(1)
        assert broker.bound == {"thing.*"}

        async with world.consuming(Consumer(broker, canary=Canary())):
            await elapse(3)
        assert broker.bound == {"thing.*", PATTERN}
        assert broker.n_acknowledged == 1

    play(test)


def test_a_topic_that_is_new_is_asked_for_and_its_entries_built_anew() -> None:
    """Its events of before the binding are kept nowhere, so what was built before that may have missed one."""

    async def test(world: World) -> None:
        broker = FakeBroker(binds=True, has_positions=False)
        n_built = 0
        async with world.consuming(broker):
            # It is waiting for messages, and does not look around.
            await elapse(1.5)

            @world.cache.cached(depends_on=[dep.Topic("other.#")])
            async def late() -> int:
                nonlocal n_built
                n_built += 1
                return n_built

            assert await late() == 1
            # The broker drops it: nobody has asked for it yet.
            broker.publish(message("other.made"))
            world.fail("suspect", AWAY)
            await elapse(5)
            assert broker.bound == {"thing.*", "other.#"}
            assert await late() == 2

            broker.publish(message("other.made"))
            await elapse(1)
            assert await late() == 3
            assert await world.built(1) == 1

    play(test)


def test_a_source_that_delivers_all_misses_nothing_of_a_new_topic() -> None:
    """So nothing is built anew for it."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        async with world.consuming(broker):
            await elapse(1)

            @world.cache.cached(depends_on=[dep.Topic("other.#")])
            async def late() -> int:
                return 1

            await late()
            await elapse(5)
            assert (await world.cache.explain(late.key())).state == "fresh"

    play(test)


def test_what_came_before_anybody_followed_a_source_is_no_loss_to_tell_of() -> None:
    """What depends on it is suspect all the same."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        broker.publish(message("thing.moved", id=1), message("thing.moved", id=2))
        await world.built(1)
        broker.trim(1)
        async with world.consuming(broker):
            await elapse(10)
            report = await world.report()

        assert (report.n_gaps, await world.built(1)) == (0, 2)

    play(test)


def test_a_gap_of_some_topics_concerns_these_alone() -> None:
    """An adapter that knows more says so."""

    async def test(world: World) -> None:
        @world.cache.cached(depends_on=[dep.Topic("other.#")])
        async def other() -> int:
            return 1

        await other()
        await world.built(1)
        broker = FakeBroker(has_positions=False)
        broker.gap_topics = ("thing.moved",)
        broker.publish(message("a"))
        broker.trim()
        async with world.consuming(broker):
            await elapse(5)

        assert (await world.cache.explain(other.key())).state == "fresh"
        assert await world.built(1) == 2

    play(test)


def test_reports_are_told_by_the_clock_of_the_store() -> None:
    """That of this process may be wrong; they come every few seconds, and at once when something changes."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        tell, told = world.cache.sources.tell, list[Report]()

        async def telling(report: Report) -> float:
            told.append(report)
            return await tell(report) + 1_000

        world.cache.sources.tell = telling
        async with world.consuming(Consumer(broker, consumer="the first")):
            await elapse(7)
            broker.publish(message("thing.moved", id=1))
            await elapse(10)

        assert [one.is_connected for one in told] == [False, True, True, True, True, False]
        assert {one.consumer for one in told} == {"the%20first"}
        assert told[-1].last_event_at == pytest.approx(1_007, abs=0.1)
        assert (told[-1].n_events, told[-1].lag) == (1, 0)

    play(test)


def test_a_report_that_cannot_be_told_stops_nothing() -> None:
    """The next one says it all."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        broker.publish(message("thing.moved", id=1))
        world.fail("tell", AWAY, AWAY, AWAY)
        async with world.consuming(broker):
            await elapse(20)
            assert (await world.report()).consumer == consumer_name().replace(".", "%2E")

        assert broker.n_acknowledged == 1

    play(test)


def test_a_report_that_no_store_takes_ends_neither_reports_nor_learning() -> None:
    """What others depend on is asked for all the same, and the next report is told."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        learn, n_learnt = world.cache.sources.learn, 0

        async def learning() -> None:
            nonlocal n_learnt
            n_learnt += 1
            await learn()

        world.cache.sources.learn = learning
        world.fail("tell", RuntimeError("no such answer"), RuntimeError("no such answer"), RuntimeError("nor this"))
        async with world.consuming(broker):
            await elapse(30)
            assert (await world.report()).is_connected

        # Once for the connection, and for each report that failed.
        assert n_learnt == 4

    play(test)


def test_who_shares_a_queue_with_others_waits_longer_for_a_canary() -> None:
    """They hear this one's, and this one hears theirs now and then; a silence is one only when all of them would be."""

    async def test(world: World) -> None:
        for name in ("b", "c", "gone"):
            await world.cache.sources.tell(
                Report(source="fake", consumer=name, is_connected=name != "gone", topics=("#",))
            )
        broker = FakeBroker()
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=1)), dice=lambda: 1.0)):
            await elapse(2)
            broker.fall_silent()
            await elapse(7)
            before = broker.n_opened
            await elapse(7)

        assert (before, broker.n_opened) == (1, 2)

    play(test)


def test_a_canary_that_cannot_be_sent_is_no_reason_to_give_up_what_comes() -> None:
    """Who may only read still reads."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        broker.takes_canaries = False
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=10)))):
            for thing in range(10):
                await elapse(10)
                broker.publish(message("thing.moved", id=thing))
            await elapse(1)

        assert (broker.n_opened, broker.n_acknowledged) == (1, 10)

    play(test)


def test_a_silence_says_that_no_canary_could_be_sent() -> None:
    """Then it may be the right to send that is missing."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        broker.takes_canaries = False
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=1)))):
            await elapse(10)
            told = (await world.report()).problem

        assert told.startswith("nothing has come for ")
        assert "a canary could not be sent: SourceUnavailable: nobody may send here" in told

    play(test)


USER: ContextVar[str] = ContextVar("user", default="nobody")


class Curious(Plain):
    """A format that looks around."""

    def events_of(self, message: Message) -> tuple[Event, ...]:
        """One event, of whom it sees."""
        return (Event("thing.seen", {"user": USER.get()}),)


def test_a_source_sees_nothing_of_who_consumes_it() -> None:
    """Neither a context variable nor an open transaction."""

    async def test(world: World) -> None:
        await world.built(1)
        seen: list[str] = []
        broker = FakeBroker(format=Curious())
        apply = world.cache.sources.apply

        async def noting(events: list[Event], **options: object) -> object:
            seen.extend(event.body["user"] for event in events)
            return await apply(events, **options)  # type: ignore[arg-type]

        world.cache.sources.apply = noting  # type: ignore[method-assign, assignment]
        broker.publish(message("thing.moved"))
        USER.set("somebody")
        async with world.cache.transaction():
            async with world.consuming(broker):
                await elapse(1)
            assert (await world.state()).offset == "1"

        assert seen == ["nobody"]

    play(test)
