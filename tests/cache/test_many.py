"""`f.many([...])`: many calls of one function, with one look into the store for all of them."""

import asyncio
from collections.abc import Iterator

import pytest

from everfresh import FOREVER, Cache, RecursiveBuild, State, dep
from everfresh.cache.gathering import MANY_AT_ONCE
from everfresh.protocol.requests import Load, LoadMany
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.recording import Recorded, recording
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


@pytest.fixture
def steps(cache: Cache) -> Iterator[Recorded]:
    """What the store of `cache` is asked."""
    with recording(cache) as steps:
        yield steps


async def test_values_come_in_the_order_of_the_calls(colour: Colour) -> None:
    """Each where it was asked for, twice if need be."""

    @colour.cached()
    async def double(number: int) -> int:
        return number * 2

    assert await done(double.many([3, 1, 3, 2])) == [6, 2, 6, 4]


async def test_a_function_of_several_parameters_takes_tuples(colour: Colour) -> None:
    """Of its positional arguments; defaults are filled in, so equal calls are one."""

    @colour.cached()
    async def page(product: str, number: int = 1) -> str:
        return f"{product} {number}"

    values = await done(page.many([("a", 1), ("b",), ("a",)]))

    assert values == ["a 1", "b 1", "a 1"]


async def test_a_parameter_that_is_ignored_does_not_count(colour: Colour) -> None:
    """What tells calls apart is one argument."""

    @colour.cached(ignore=("session",))
    async def double(number: int, session: object = None) -> int:
        return number * 2

    assert await done(double.many([1, 2])) == [2, 4]


@pytest.mark.parametrize("calls", ["ab", b"ab", [1, 2]], ids=["text", "bytes", "numbers"])
async def test_what_is_no_list_of_calls_is_refused(colour: Colour, calls: object) -> None:
    """A text would be read as its letters, and a number is no tuple of arguments."""

    @colour.cached()
    async def page(product: str, number: int) -> str:
        return f"{product} {number}"

    with pytest.raises(TypeError, match="many takes"):
        await done(page.many(calls))  # type: ignore[arg-type]  # the mistake is the test


async def test_no_calls_give_no_values(colour: Colour, steps: Recorded) -> None:
    """And ask nobody."""

    @colour.cached()
    async def double(number: int) -> int:
        return number * 2

    assert await done(double.many([])) == []
    assert steps.of(LoadMany) == []


async def test_what_is_stored_takes_one_round_trip(open_cache: OpenCache, sqlite_url: str, colour: Colour) -> None:
    """For all of it, however much that is."""
    cache = open_cache(sqlite_url, near=0)

    @Colour(cache, is_async=colour.is_async).cached()
    async def double(number: int) -> int:
        return number * 2

    await done(double.many(range(20)))
    with recording(cache) as steps:
        values = await done(double.many(range(20)))

    assert values == [number * 2 for number in range(20)]
    assert len(steps.of(LoadMany)) == 1
    assert steps.of(Load) == []


async def test_what_is_held_near_is_not_looked_up(colour: Colour, steps: Recorded) -> None:
    """Only the rest is asked for."""

    @colour.cached()
    async def double(number: int) -> int:
        return number * 2

    for _ in range(2):
        await done(double(1))
    await done(double.many([1, 2]))
    (request,) = steps.of(LoadMany)

    assert request.keys == (double.key(2),)


async def test_what_was_looked_up_is_held_near(colour: Colour, steps: Recorded) -> None:
    """The next reader of one of them asks nobody."""

    @colour.cached()
    async def double(number: int) -> int:
        return number * 2

    for _ in range(2):
        await done(double.many([1, 2]))
    steps.clear()
    values = [await done(double.many([1, 2])), await done(double(1))]

    assert (values, steps.all) == ([[2, 4], 2], [])


async def test_nobody_changes_what_another_got(colour: Colour) -> None:
    """Not even who asked twice for one call at once."""

    @colour.cached()
    async def numbers(n: int) -> list[int]:
        return list(range(n))

    first, again = await done(numbers.many([2, 2]))
    first.append(7)
    later = await done(numbers.many([2]))

    assert (again, later) == ([0, 1], [[0, 1]])


async def test_only_what_was_touched_is_built(colour: Colour) -> None:
    """The others are served."""
    built: list[int] = []

    @colour.cached(depends_on=[dep.Id("number", dep.arg("number"))])
    async def double(number: int) -> int:
        built.append(number)
        return number * 2

    await done(double.many([1, 2, 3]))
    await colour.cache.invalidate(dep.Id("number", 2))
    await done(double.many([1, 2, 3]))

    assert built == [1, 2, 3, 2]


async def test_the_bounds_of_the_function_hold(colour: Colour, upstream: Upstream) -> None:
    """While the source fails, the last good values stand in."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value(number: int) -> int:
        return upstream.read() * number

    await done(value.many([1, 2]))
    await upstream.break_down()

    assert await done(value.many([1, 2])) == [1, 2]


async def test_one_that_fails_does_not_stop_the_others(colour: Colour) -> None:
    """They are built and stored; then the first error, in the order of the calls, is raised."""

    @colour.cached()
    async def value(number: int) -> int:
        if number in (2, 3):
            raise Broken(f"number {number}")
        return number

    with pytest.raises(Broken, match="number 2"):
        await done(value.many([1, 2, 3, 4]))

    assert await is_fresh(value, 1)
    assert await is_fresh(value, 4)


async def test_a_build_that_asks_for_many_depends_on_all(colour: Colour) -> None:
    """On what was near too."""

    @colour.cached(depends_on=[dep.Id("number", dep.arg("number"))])
    async def double(number: int) -> int:
        return number * 2

    @colour.cached()
    async def total() -> int:
        return sum(await done(double.many([1, 2])))

    await done(double(1))
    await done(total())
    for number in (1, 2):
        await colour.cache.invalidate(dep.Id("number", number))
        assert (await entry_of(total)).state is State.SUSPECT
        await done(total())


async def test_a_build_that_asks_for_itself_among_many_is_refused(colour: Colour) -> None:
    """As by an ordinary call."""

    @colour.cached(key="value:{number}")
    async def value(number: int) -> int:
        return sum(await done(value.many([number % 2 + 1])))

    with pytest.raises(RecursiveBuild, match="value:1 -> value:2 -> value:1"):
        await done(value(1))


async def test_what_goes_on_without_a_failed_one_is_makeshift(colour: Colour) -> None:
    """It is built again, as by an ordinary call."""

    @colour.cached()
    async def inner(number: int) -> int:
        raise Broken

    @colour.cached()
    async def outer() -> int:
        try:
            return sum(await done(inner.many([1])))
        except Broken:
            return 0

    await done(outer())

    assert (await entry_of(outer)).state is State.DIRTY


async def test_async_builds_run_side_by_side_a_few_at_a_time(open_cache: OpenCache, gate: Gate) -> None:
    """All at once would drain the pool of whatever they ask."""
    running: list[int] = []

    @open_cache().cached
    async def value(number: int) -> int:
        running.append(number)
        await gate.stop()
        return number

    task = asyncio.create_task(value.many(range(MANY_AT_ONCE + 1)))
    for _ in range(MANY_AT_ONCE):
        await gate.reached()
    n_running = len(running)
    gate.open()

    assert await task == list(range(MANY_AT_ONCE + 1))
    assert n_running == MANY_AT_ONCE


async def test_who_is_cancelled_gives_all_leases_up(cache: Cache, gate: Gate) -> None:
    """At once: the clock stands still, so no lease runs out."""

    @cache.cached
    async def value(number: int) -> int:
        await gate.stop()
        return number

    task = asyncio.create_task(value.many([1, 2]))
    await gate.reached()
    await gate.reached()
    waiter = asyncio.create_task(value(2))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gate.reached()
    gate.open()

    assert (await waiter, await value.entry(1)) == (2, None)


async def test_two_who_want_the_same_build_it_once(colour: Colour, gate: Gate) -> None:
    """Whoever comes second waits for what is under way."""
    built: list[int] = []

    @colour.cached()
    async def value(number: int) -> int:
        built.append(number)
        await gate.stop()
        return number

    tasks = [colour.start(value.many, [1, 2]), colour.start(value.many, [2, 1])]
    await gate.reached()
    gate.open()

    assert (await tasks[0], await tasks[1], sorted(built)) == ([1, 2], [2, 1], [1, 2])


async def test_one_argument_is_no_list_of_them(colour: Colour) -> None:
    """The message says how it is written."""

    @colour.cached()
    async def value(n: int) -> int:
        return n

    for method in (value.many, value.warm):
        with pytest.raises(TypeError, match=r"many takes a list with an element for each call. Write \[1\]"):
            await done(method(1))  # type: ignore[arg-type]  # the mistake is the test
