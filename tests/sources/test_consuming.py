"""What the loop does with any source: order, troubles, ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from everfresh import FOREVER, Cache, Event, InvalidOption, StoreClosed
from everfresh.model.message import Message
from everfresh.sources.canary import Canary, canary_of
from everfresh.sources.consuming import Consumer
from everfresh.sources.reports import problems, statuses
from everfresh.testing.broker import FakeBroker
from everfresh.testing.timeless import elapse, run_timeless
from tests.sources.consumed import AWAY, World, message

pytestmark = [pytest.mark.parametrize("has_positions", [True, False]), pytest.mark.usefixtures("quiet")]
Test = Callable[[World, FakeBroker], Awaitable[None]]


def play(test: Test, *, has_positions: bool) -> None:
    """Play it in a world of its own, where waiting takes no time."""

    async def main() -> None:
        world = World()
        async with world.cache:
            await test(world, FakeBroker(has_positions=has_positions))

    run_timeless(main())


def test_what_comes_is_applied_and_then_acknowledged(has_positions: bool) -> None:
    """An event rebuilds what depends on it; its message need not come again, and the offset says so."""

    async def test(world: World, broker: FakeBroker) -> None:
        await world.built(1)
        await world.built(2)
        broker.publish(message("thing.moved", id=1))

        async with world.consuming(broker):
            await elapse(1)
            assert (await world.built(1), await world.built(2)) == (2, 1)

        assert broker.n_acknowledged == 1
        assert (await world.state()).offset == ("1" if has_positions else None)

    play(test, has_positions=has_positions)


def test_nothing_is_acknowledged_while_the_store_is_away(has_positions: bool) -> None:
    """The batch is kept and tried again; the broker would give it again if this process died."""

    async def test(world: World, broker: FakeBroker) -> None:
        await world.built(1)
        world.fail("apply", AWAY, AWAY, AWAY)
        seen: list[tuple[int, list[str]]] = []

        async def look() -> None:
            seen.append((broker.n_acknowledged, problems()))

        world.fail("apply", look, look, look, look)
        broker.publish(message("thing.moved", id=1))

        async with world.consuming(broker):
            await elapse(60)

        assert seen == [(0, []), *[(0, ["fake: the store does not answer: StoreUnavailable: away"])] * 3]
        assert (broker.n_acknowledged, await world.built(1)) == (1, 2)

    play(test, has_positions=has_positions)


def test_the_stored_offset_is_waited_for(has_positions: bool) -> None:
    """Without it the source would be read from somewhere else."""

    async def test(world: World, broker: FakeBroker) -> None:
        world.fail("read", AWAY, AWAY)
        world.fail("learn", AWAY)
        broker.publish(message("thing.moved", id=1))

        async with world.consuming(broker):
            await elapse(60)

        assert (broker.n_opened, broker.n_acknowledged) == (1, 1)

    play(test, has_positions=has_positions)


def test_what_is_no_event_goes_to_quarantine(has_positions: bool) -> None:
    """With why, and with all that it said; what came before and after it is applied, and all is acknowledged."""

    async def test(world: World, broker: FakeBroker) -> None:
        await world.built(1)
        await world.built(2)
        bad = Message(topic="thing.moved", body=b"\xff{", headers={"from": "somebody"}, id="7")
        broker.publish(message("thing.moved", id=1), bad, message("thing.moved", id=2))

        async with world.consuming(broker):
            await elapse(1)

        (kept,) = await world.cache.sources.quarantined()
        assert (kept.source, kept.format, kept.message) == ("fake", "plain", bad)
        assert kept.reason.startswith("this is not JSON")
        assert (await world.built(1), await world.built(2), broker.n_acknowledged) == (2, 2, 3)
        assert (await world.report()).n_unreadable == 1

    play(test, has_positions=has_positions)


def test_quarantine_comes_before_the_acknowledgement(has_positions: bool) -> None:
    """What could not be kept is not acknowledged."""

    async def test(world: World, broker: FakeBroker) -> None:
        seen: list[int] = []

        async def look() -> None:
            seen.append(broker.n_acknowledged)

        world.fail("quarantine", AWAY, AWAY, look)
        broker.publish(Message(topic="thing.moved", body=b"{"))

        async with world.consuming(broker):
            await elapse(60)

        assert (seen, broker.n_acknowledged) == ([0], 1)
        assert len(await world.cache.sources.quarantined()) == 1

    play(test, has_positions=has_positions)


class Moody:
    """A format that raises what it likes."""

    name = "moody"

    def events_of(self, message: Message) -> list[Event]:
        """Nothing of the kind."""
        raise RuntimeError(f"amqp://me:secret@host cannot, {message.topic}")


def test_a_format_may_raise_anything(has_positions: bool) -> None:
    """It is kept with its reason, without a password, and stops nobody."""

    async def test(world: World, _: FakeBroker) -> None:
        broker = FakeBroker(has_positions=has_positions, format=Moody())
        broker.publish(message("a"), message("b"))

        async with world.consuming(broker):
            await elapse(1)

        kept = await world.cache.sources.quarantined()
        assert [one.reason for one in kept] == [f"RuntimeError: amqp://me:***@host cannot, {topic}" for topic in "ab"]
        assert broker.n_acknowledged == 2

    play(test, has_positions=has_positions)


def test_an_event_that_the_cache_refuses_takes_no_other_with_it(has_positions: bool) -> None:
    """The rest of its batch is applied; it goes to quarantine; the batch's offset stands all the same."""

    async def test(world: World, broker: FakeBroker) -> None:
        for thing in (1, 2, 3):
            await world.built(thing)
        apply = world.cache.sources.apply

        async def refusing(events: list[Event], **options: object) -> object:
            if any(event.body.get("id") == 2 for event in events):
                raise TypeError("this one cannot be stored")
            return await apply(events, **options)  # type: ignore[arg-type]

        world.cache.sources.apply = refusing  # type: ignore[method-assign, assignment]
        broker.publish(*(message("thing.moved", id=thing) for thing in (1, 2, 3)))

        async with world.consuming(broker):
            await elapse(1)

        (kept,) = await world.cache.sources.quarantined()
        assert (kept.message, kept.reason) == (message("thing.moved", id=2), "TypeError: this one cannot be stored")
        assert [await world.built(thing) for thing in (1, 2, 3)] == [2, 1, 2]
        assert (broker.n_acknowledged, (await world.state()).offset) == (3, "3" if has_positions else None)

    play(test, has_positions=has_positions)


def test_a_gap_makes_all_suspect_that_the_source_delivers(has_positions: bool) -> None:
    """Before anything after it is acknowledged; it is counted and told."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.publish(message("other"))
        async with world.consuming(broker):
            await elapse(1)
        await world.built(1)
        broker.publish(message("thing.moved", id=1))
        broker.trim()
        world.fail("suspect", AWAY, AWAY)
        before = broker.n_acknowledged

        async with world.consuming(Consumer(broker, dice=lambda: 1.0)):
            await elapse(0.05)
            assert broker.n_acknowledged == before
            assert (await world.state()).offset == ("1" if has_positions else None)
            await elapse(60)
            assert (await world.report()).n_gaps == 1

        assert await world.built(1) == 2

    play(test, has_positions=has_positions)


def test_a_connection_that_breaks_is_made_again(has_positions: bool) -> None:
    """The report says so meanwhile; nothing is lost."""

    async def test(world: World, broker: FakeBroker) -> None:
        await world.built(1)
        async with world.consuming(Consumer(broker, dice=lambda: 1.0)):
            await elapse(1)
            broker.is_down = True
            broker.disconnect()
            await elapse(300)
            down = await world.report()
            broker.publish(message("thing.moved", id=1))
            broker.is_down = False
            await elapse(60)
            up = await world.report()

        assert (down.is_connected, down.problem) == (False, "SourceUnavailable: it is down")
        assert (up.is_connected, up.problem, up.n_events) == (True, "", 1)
        assert (broker.n_opened, await world.built(1)) == (2, 2)

    play(test, has_positions=has_positions)


def test_tries_to_connect_are_spread(has_positions: bool) -> None:
    """They double up to half a minute, so that a broker is not run over when it comes back."""

    async def test(world: World, broker: FakeBroker) -> None:
        tries: list[float] = []
        opened = broker.open

        def counting(start: object) -> object:
            tries.append(asyncio.get_running_loop().time())
            return opened(start)  # type: ignore[arg-type]

        broker.open = counting  # type: ignore[method-assign, assignment]
        broker.is_down = True
        async with world.consuming(Consumer(broker, dice=lambda: 1.0)):
            await elapse(200)

        waits = [later - earlier for earlier, later in pairwise(tries)]
        assert waits[:8] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30])

    play(test, has_positions=has_positions)


def test_what_was_acknowledged_does_not_come_again(has_positions: bool) -> None:
    """A source goes on from the stored offset, or from what its broker still has."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.publish(message("thing.moved", id=1), message("thing.moved", id=2))
        async with world.consuming(broker):
            await elapse(1)
        async with world.consuming(broker):
            await elapse(1)
            broker.publish(message("thing.moved", id=3))
            await elapse(1)

        assert (broker.n_opened, broker.n_acknowledged) == (2, 3)

    play(test, has_positions=has_positions)


def test_of_a_message_that_is_partly_read_what_are_events_is_applied(has_positions: bool) -> None:
    """The message is kept, as the rest of it is none."""

    async def test(world: World, _: FakeBroker) -> None:
        broker = FakeBroker(format="auto", has_positions=has_positions)
        await world.built(1)
        batch = Message(topic="thing.moved", body=b'[{"id": 1}, 7]')
        broker.publish(batch)
        async with world.consuming(broker):
            await elapse(1)

        (kept,) = await world.cache.sources.quarantined()
        assert (kept.message, kept.reason) == (batch, "[1].body: the body must be a JSON object, not a number")
        assert (await world.built(1), broker.n_acknowledged) == (2, 1)

    play(test, has_positions=has_positions)


def test_a_canary_tells_silent_from_quiet(has_positions: bool) -> None:
    """A quiet source brings it back; of one that does not the connection is made anew, and an alarm told."""

    async def test(world: World, broker: FakeBroker) -> None:
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=10)), dice=lambda: 1.0)):
            await elapse(100)
            quiet = (broker.n_opened, (await world.report()).problem)
            broker.fall_silent()
            broker.is_down = True
            await elapse(60)
            silent = await world.report()
            broker.is_down = False
            await elapse(60)
            back = await world.report()

        assert quiet == (1, "")
        assert silent.problem.startswith("nothing has come for 3")
        assert (back.problem, back.is_connected, back.n_events, broker.n_opened) == ("", True, 0, 2)
        assert back.last_canary_at is not None
        assert back.last_event_at is None

    play(test, has_positions=has_positions)


def test_the_canaries_of_others_are_acknowledged_quietly(has_positions: bool) -> None:
    """They share the queue; none of them is an event, or unreadable."""

    async def test(world: World, broker: FakeBroker) -> None:
        canary = canary_of("other")
        # Not each bus brings back both.
        broker.publish(Message(topic=canary.topic, body=canary.body))
        broker.publish(Message(topic="queue", body=canary.body, headers=canary.headers))
        async with world.consuming(broker):
            await elapse(10)
            report = await world.report()

        assert (report.n_events, report.n_unreadable, broker.n_acknowledged) == (0, 0, 2)

    play(test, has_positions=has_positions)


def test_an_event_that_only_looks_like_a_canary_is_applied(has_positions: bool) -> None:
    """Whoever publishes may copy the headers of what it consumed."""

    async def test(world: World, broker: FakeBroker) -> None:
        await world.built(1)
        copied = message("thing.moved", id=1)
        broker.publish(Message(topic=copied.topic, body=copied.body, headers=canary_of("other").headers))
        broker.publish(Message(topic="everfresh.canary.other", body=b"{}"))
        async with world.consuming(broker):
            await elapse(1)
            assert await world.built(1) == 2
        assert (await world.report()).n_events == 2

    play(test, has_positions=has_positions)


def test_a_store_that_takes_no_event_at_all_is_waited_for(has_positions: bool) -> None:
    """Whatever it raises: that is no fault of the events, and none of them is given up for it."""

    async def test(world: World, broker: FakeBroker) -> None:
        await world.built(1)
        world.fail("apply", *[RuntimeError("an answer that nobody knows")] * 10)
        broker.publish(message("thing.moved", id=1), message("thing.moved", id=2))
        async with world.consuming(Consumer(broker, dice=lambda: 1.0)):
            await elapse(1)
            told = problems()
            assert broker.n_acknowledged == 0
            await elapse(100)
            assert problems() == []

        assert told == ["fake: the store does not answer: RuntimeError: an answer that nobody knows"]
        assert (await world.cache.sources.quarantined(), broker.n_acknowledged, await world.built(1)) == ((), 2, 2)

    play(test, has_positions=has_positions)


def test_a_store_that_breaks_between_two_events_gives_up_none(has_positions: bool) -> None:
    """The batch comes again, over another connection."""

    async def test(world: World, broker: FakeBroker) -> None:
        async def well() -> None:
            """The probe: it is the events."""

        broken = RuntimeError("an answer that nobody knows")
        world.fail("apply", TypeError("one of them"), well, broken, broken)
        broker.publish(message("thing.moved", id=1), message("thing.moved", id=2))
        async with world.consuming(broker):
            await elapse(100)

        assert (await world.cache.sources.quarantined(), broker.n_acknowledged, broker.n_opened) == ((), 2, 2)

    play(test, has_positions=has_positions)


@pytest.mark.parametrize("has_canary", [True, False])
def test_an_outage_of_the_store_is_no_silence_of_the_source(has_positions: bool, has_canary: bool) -> None:
    """While nobody listened, nothing could be heard."""

    async def test(world: World, broker: FakeBroker) -> None:
        async def take_long() -> None:
            await elapse(600)

        world.fail("apply", take_long)
        broker.publish(message("thing.moved", id=1))
        canary = Canary(every=timedelta(seconds=10)) if has_canary else None
        async with world.consuming(Consumer(broker, canary=canary, idle_alarm=timedelta(seconds=20))):
            await elapse(615)

        assert (broker.n_opened, broker.n_acknowledged >= 1) == (1, True)

    play(test, has_positions=has_positions)


def test_a_source_may_be_quiet_only_so_long(has_positions: bool) -> None:
    """With an `idle_alarm`, and without canaries."""

    async def test(world: World, broker: FakeBroker) -> None:
        async with world.consuming(Consumer(broker, idle_alarm=timedelta(seconds=30), dice=lambda: 1.0)):
            await elapse(29)
            before = broker.n_opened
            await elapse(10)
            told = (await world.report()).problem
            broker.publish(message("thing.moved", id=1))
            await elapse(10)
            after = (await world.report()).problem

        assert (before, broker.n_opened, after) == (1, 2, "")
        assert told.startswith("nothing has come for 3")

    play(test, has_positions=has_positions)


def test_who_ends_it_waits_for_the_batch_under_way(has_positions: bool) -> None:
    """It is applied and acknowledged; the last report says that nobody is connected any more."""

    async def test(world: World, broker: FakeBroker) -> None:
        async def take_some_time() -> None:
            await elapse(1.5)

        world.fail("apply", take_some_time)
        broker.publish(message("thing.moved", id=1))
        async with world.consuming(broker) as task:
            await elapse(1)
            broker.publish(message("thing.moved", id=2))
            await elapse(0.1)
            assert (broker.n_acknowledged, len(statuses())) == (0, 1)
            task.cancel()

        report = await world.report()
        assert (broker.n_acknowledged, report.is_connected, report.n_events) == (1, False, 1)
        assert statuses() == []

    play(test, has_positions=has_positions)


@pytest.mark.parametrize("grace", [timedelta(0), FOREVER])
def test_who_ends_it_waits_no_longer_than_the_grace(has_positions: bool, grace: timedelta) -> None:
    """What was not settled by then comes again; who cancels twice does not wait at all."""

    async def test(world: World, broker: FakeBroker) -> None:
        async def take_for_ever() -> None:
            await asyncio.get_running_loop().create_future()

        world.fail("apply", take_for_ever)
        broker.publish(message("thing.moved", id=1))
        async with world.consuming(Consumer(broker, grace=grace)) as task:
            await elapse(1)
            task.cancel()
            await elapse(1)
            assert task.done() is (grace != FOREVER)
            task.cancel()
            await elapse(0.1)
            assert task.done()

        assert broker.n_acknowledged == 0
        async with world.consuming(broker):
            await elapse(1)
        assert broker.n_acknowledged == 1

    play(test, has_positions=has_positions)


def test_at_most_two_batches_are_held(has_positions: bool) -> None:
    """While one is settled the next is fetched, and no more, however much there is."""

    async def test(world: World, broker: FakeBroker) -> None:
        async def take_long() -> None:
            await elapse(100)

        world.fail("apply", take_long)
        broker.publish(*(message("thing.moved", id=thing) for thing in range(5_000)))
        async with world.consuming(broker):
            await elapse(50)
            assert broker.n_held == 1_000
            await elapse(100)

        assert broker.n_acknowledged == 5_000

    play(test, has_positions=has_positions)


def test_large_messages_make_small_batches(has_positions: bool) -> None:
    """A batch is to have about a megabyte."""

    async def test(world: World, broker: FakeBroker) -> None:
        sizes: list[int] = []
        fetched = FakeBroker(
            has_positions=has_positions, on_acknowledge=lambda batch: sizes.append(len(batch.messages))
        )
        fetched.publish(message("a"))
        async with world.consuming(fetched):
            await elapse(1)
            fetched.publish(*(message("a", text="x" * 100_000) for _ in range(1_000)))
            await elapse(60)

        assert fetched.n_acknowledged == 1_001
        assert set(sizes[3:-1]) == {10}

    play(test, has_positions=has_positions)


def test_an_offset_stands_with_the_last_step_of_its_batch(has_positions: bool) -> None:
    """A batch of more than a step should write takes several; what the offset says is then applied to the last."""

    async def test(world: World, broker: FakeBroker) -> None:
        seen: list[str | None] = []

        async def look() -> None:
            states = (await world.cache.sources.read()).states
            seen.append(states[0].offset if states else None)

        world.fail("apply", look, look, look)
        broker.publish(*(message("thing.moved", id=1, text="x" * 6_000) for _ in range(500)))
        async with world.consuming(broker):
            await elapse(1)

        assert seen == [None, None, None]
        assert (await world.state()).offset == ("500" if has_positions else None)

    play(test, has_positions=has_positions)


def test_several_sources_are_consumed_at_once(has_positions: bool) -> None:
    """Each with its own offset; two of one name are refused, as one would overwrite the other's."""

    async def test(world: World, broker: FakeBroker) -> None:
        other = FakeBroker(name="other", has_positions=has_positions)
        for one in (broker, other):
            one.publish(message("thing.moved", id=1))
        async with world.consuming(broker, Consumer(other)):
            await elapse(1)

        assert (broker.n_acknowledged, other.n_acknowledged) == (1, 1)
        with pytest.raises(InvalidOption, match="fake: twice"):
            await world.cache.consume(broker, Consumer(broker))
        with pytest.raises(InvalidOption, match="name a source"):
            await world.cache.consume()

    play(test, has_positions=has_positions)


@pytest.mark.parametrize("is_quiet", [True, False])
def test_a_cache_that_is_closed_ends_it(has_positions: bool, is_quiet: bool) -> None:
    """Nobody would ever answer; nothing is acknowledged."""

    async def test(world: World, broker: FakeBroker) -> None:
        cache = Cache("memory:")
        task = asyncio.create_task(cache.consume(broker))
        await elapse(1)
        await cache.aclose()
        if not is_quiet:
            broker.publish(message("thing.moved", id=1))

        with pytest.raises(StoreClosed):
            await task
        assert broker.n_acknowledged == 0

    play(test, has_positions=has_positions)


def test_what_is_configured_wrongly_ends_it(has_positions: bool) -> None:
    """Trying again would not help."""

    async def test(world: World, broker: FakeBroker) -> None:
        def refuse(_: object) -> None:
            raise InvalidOption("exchange: there is none")

        broker.open = refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(InvalidOption, match="there is none"):
            await world.cache.consume(broker)

    play(test, has_positions=has_positions)


def test_a_source_that_hangs_is_given_up(has_positions: bool) -> None:
    """Neither its opening, nor a fetch, nor an acknowledgement, nor its end may take for ever."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.publish(message("thing.moved", id=1))
        for method in ("fetch", "acknowledge", "close"):
            broker.hangs = method
            async with world.consuming(Consumer(broker, dice=lambda: 0.0)):
                n_opened = broker.n_opened
                await elapse(40)
                broker.disconnect()
                await elapse(40)
                assert broker.n_opened > n_opened, method

        broker.hangs = "open"
        async with world.consuming(Consumer(broker, dice=lambda: 0.0)):
            await elapse(40)
            assert "30 s" in (await world.report()).problem
            broker.hangs = ""
            await elapse(40)
        # It was applied in spite of all; where there are positions it need not come again.
        assert (await world.state()).offset == "1" if has_positions else broker.n_waiting == 0

    play(test, has_positions=has_positions)


@pytest.mark.parametrize("what", ["open", "fetch", "acknowledge", "close"])
def test_a_driver_that_cancels_itself_does_not_end_it(has_positions: bool, what: str) -> None:
    """Some cancel their own futures when a connection breaks; nobody has cancelled the consumer."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.gives_up = what
        broker.publish(message("thing.moved", id=1))
        async with world.consuming(Consumer(broker, dice=lambda: 1.0)) as task:
            await elapse(5)
            broker.disconnect()
            await elapse(60)
            broker.publish(message("thing.moved", id=1))
            await elapse(60)
            assert not task.done()
            assert (await world.report()).problem == ""

        assert (broker.gives_up, (await world.state()).offset) == ("", "2" if has_positions else None)
        assert broker.n_acknowledged >= 1
        assert broker.n_waiting == (2 if has_positions else 0)

    play(test, has_positions=has_positions)


@pytest.mark.parametrize("operation", ["read", "apply", "tell"])
def test_a_driver_of_the_store_that_cancels_itself_does_not_end_it(has_positions: bool, operation: str) -> None:
    """Nor does it end the reports."""

    async def test(world: World, broker: FakeBroker) -> None:
        async def give_up() -> None:
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up

        world.fail(operation, give_up)
        broker.publish(message("thing.moved", id=1))
        async with world.consuming(broker):
            await elapse(60)
            report = await world.report()

        assert (report.is_connected, report.problem, broker.n_acknowledged) == (True, "", 1)

    play(test, has_positions=has_positions)


def test_an_option_that_cannot_hold_is_refused(has_positions: bool) -> None:
    """Where it is said, not when it would first matter."""

    async def test(_: World, broker: FakeBroker) -> None:
        with pytest.raises(InvalidOption, match="idle_alarm"):
            Consumer(broker, idle_alarm=timedelta(0))
        with pytest.raises(InvalidOption, match="suspects_per_s"):
            Consumer(broker, suspects_per_s=0)
        with pytest.raises(InvalidOption, match="n_quarantined"):
            Consumer(broker, n_quarantined=0)
        with pytest.raises(InvalidOption, match="every"):
            Canary(every=timedelta(milliseconds=1))

    play(test, has_positions=has_positions)


def test_a_full_quarantine_drops_the_oldest_and_says_so(has_positions: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It is bounded; that something is gone stands in the log."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.publish(*(Message(topic="a", body=b"{%d" % number) for number in range(5)))
        async with world.consuming(Consumer(broker, n_quarantined=2)):
            await elapse(1)

            # It is answered as a gap, and no trouble that lasts.
            assert (problems(), (await world.report()).n_gaps) == ([], 1)

        assert [one.message.body for one in await world.cache.sources.quarantined()] == [b"{3", b"{4"]

    with caplog.at_level(logging.WARNING, "everfresh.sources"):
        play(test, has_positions=has_positions)
    assert "quarantine.full {'source': 'fake', 'n_dropped': 3}" in caplog.messages


def test_a_flood_of_nonsense_is_no_flood_in_the_log(has_positions: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Of a batch ten are told, and how many more."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.publish(*(Message(topic="a", body=b"{%d" % number) for number in range(500)))
        async with world.consuming(broker):
            await elapse(1)

    with caplog.at_level(logging.WARNING, "everfresh.sources"):
        play(test, has_positions=has_positions)
    told = [text for text in caplog.messages if text.startswith("message.")]
    assert len(told) == 11
    assert told[-1] == "message.more_unreadable {'source': 'fake', 'n_more': 490}"


def test_what_went_out_of_quarantine_is_answered_for(has_positions: bool) -> None:
    """It may have been an event, so what it could have touched is suspect before its batch is acknowledged."""

    async def test(world: World, broker: FakeBroker) -> None:
        seen: list[int] = []

        async def look() -> None:
            seen.append(broker.n_acknowledged)

        await world.built(1)
        world.fail("suspect", look)
        broker.publish(*(Message(topic="a", body=b"{%d" % number) for number in range(3)))
        async with world.consuming(Consumer(broker, n_quarantined=2)):
            await elapse(1)
            assert (seen, broker.n_acknowledged, await world.built(1)) == ([0], 3, 2)

            for number in range(100, 400):
                broker.publish(Message(topic="a", body=b"{%d" % number))
                await elapse(1)
            flooded = (await world.report()).n_gaps, await world.built(1)
            await elapse(400)
            assert (flooded, (await world.report()).n_gaps, await world.built(1)) == ((1, 2), 2, 3)

    play(test, has_positions=has_positions)


def test_an_alarm_needs_the_store_to_know_who_else_listens(has_positions: bool) -> None:
    """Without it nobody is blamed for a silence."""

    async def test(world: World, broker: FakeBroker) -> None:
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=1)), dice=lambda: 1.0)):
            await elapse(2)
            world.fail("read", *[AWAY] * 10)
            broker.fall_silent()
            await elapse(10)
            before = broker.n_opened
            await elapse(10)

        assert (before, broker.n_opened) == (1, 2)

    play(test, has_positions=has_positions)


def test_a_time_limit_of_the_driver_is_told_as_its_own(has_positions: bool) -> None:
    """It may say more than that nothing was answered."""

    async def test(world: World, broker: FakeBroker) -> None:
        broker.is_down = True
        broker.refusal = TimeoutError("no TLS handshake within 5 s")
        async with world.consuming(broker):
            await elapse(1)
            assert (await world.report()).problem == "TimeoutError: no TLS handshake within 5 s"

    play(test, has_positions=has_positions)


def test_a_store_that_is_closed_while_it_applies_takes_no_event_for_unreadable(has_positions: bool) -> None:
    """It is the store's trouble, and no fault of the events; nothing is acknowledged."""

    async def test(world: World, broker: FakeBroker) -> None:
        world.fail("apply", StoreClosed("closed"))
        broker.publish(message("thing.moved", id=1))
        with pytest.raises(StoreClosed):
            await world.cache.consume(broker)

        assert await world.cache.sources.quarantined() == ()
        world.fail("apply", TypeError("one of them"), StoreClosed("closed"))
        with pytest.raises(StoreClosed):
            await world.cache.consume(broker)

        assert (await world.cache.sources.quarantined(), broker.n_acknowledged) == ((), 0)

    play(test, has_positions=has_positions)
