"""Values put by hand: `put`, `get`, `has`, `delete`. The rules that users of comparable systems rely on."""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from everfresh import (
    Cache,
    Event,
    EverfreshError,
    InvalidDependency,
    InvalidOption,
    NotInCache,
    State,
    ValueNotSupported,
    dep,
)
from everfresh.testing.clock import FakeClock
from tests.cache.by_hand import ByHand
from tests.cache.making import in_empty_context

pytestmark = pytest.mark.redis
ARTICLES = [{"id": 1}, {"id": 2}]


async def test_a_put_value_is_got(by_hand: ByHand) -> None:
    """Conformance 1: `get` equals, `has` is True."""
    await by_hand.put("articles-list", ARTICLES, dep.Id("article", 1), dep.Id("article", 2), expires=1000)

    assert (await by_hand.get("articles-list"), await by_hand.has("articles-list")) == (ARTICLES, True)


async def test_a_name_that_a_value_does_not_hang_on_leaves_it(by_hand: ByHand) -> None:
    """Conformance 1: `invalidate(Tag('hop'))` does nothing to it."""
    await by_hand.put("articles-list", ARTICLES, dep.Id("article", 1), dep.Id("article", 2))

    await by_hand.invalidate(dep.Tag("hop"))

    assert await by_hand.get("articles-list") == ARTICLES


@pytest.mark.parametrize("touching", [dep.Id("article", 1), dep.Id("article", "2")], ids=["first", "second, as text"])
async def test_an_invalidated_value_is_gone(by_hand: ByHand, touching: dep.Id) -> None:
    """Conformance 1: `has` is False; nobody can build it again."""
    await by_hand.put("articles-list", ARTICLES, dep.Id("article", 1), dep.Id("article", 2))

    await by_hand.invalidate(touching)

    assert not await by_hand.has("articles-list")


async def test_what_is_not_there_is_a_key_error_that_names_the_key(by_hand: ByHand) -> None:
    """Conformance 1: who replaces a dict by a cache keeps the `except KeyError`."""
    with pytest.raises(KeyError, match="'articles-list' is not in the cache") as raised:
        await by_hand.get("articles-list")

    assert isinstance(raised.value, NotInCache)


async def test_a_deleted_value_is_gone(by_hand: ByHand) -> None:
    """Conformance 2."""
    await by_hand.put("a", 1)

    n_deleted = await by_hand.delete("a")

    assert (n_deleted, await by_hand.has("a")) == (1, False)


async def test_delete_says_how_many_there_were(by_hand: ByHand) -> None:
    """What is not there, or is named twice, is not counted."""
    await by_hand.put("a", 1)
    await by_hand.put("b", 2)

    assert await by_hand.delete("a", "b", "c", "a") == 2


async def test_a_built_value_can_be_deleted(cache: Cache) -> None:
    """The next reader builds it."""
    executed: list[int] = []

    @cache.cached
    def value() -> int:
        executed.append(1)
        return len(executed)

    for _ in range(3):
        value()
    await cache.delete(value.key())

    assert value() == 2


async def test_invalidating_nothing_is_no_error(by_hand: ByHand) -> None:
    """Conformance 2: nor what nobody hangs on; a loop over nothing is everyday."""
    await by_hand.put("a", 1, dep.Tag("t"))

    await by_hand.invalidate()
    await by_hand.invalidate(dep.Tag("nobody"))

    assert await by_hand.has("a")


@pytest.mark.parametrize("expires", [60, 60.0, timedelta(minutes=1)], ids=repr)
@pytest.mark.parametrize(("after_s", "is_there"), [(59.9, True), (60.0, False)])
async def test_a_value_expires(
    by_hand: ByHand, clock: FakeClock, expires: float | timedelta, after_s: float, is_there: bool
) -> None:
    """Conformance 2: `expires` takes seconds or a timedelta."""
    await by_hand.put("a", 1, expires=expires)

    clock.advance(after_s)

    assert await by_hand.has("a") is is_there


async def test_an_expired_value_is_not_got(by_hand: ByHand, clock: FakeClock) -> None:
    """As if it had never been put."""
    await by_hand.put("a", 1, expires=60)
    clock.advance(60)

    with pytest.raises(NotInCache):
        await by_hand.get("a")


async def test_an_expired_value_can_be_put_again(by_hand: ByHand, clock: FakeClock) -> None:
    """With a life of its own."""
    await by_hand.put("a", 1, expires=60)
    clock.advance(60)
    await by_hand.put("a", 2, expires=60)
    clock.advance(59)

    assert await by_hand.get("a") == 2


async def test_putting_again_without_an_end_takes_the_end_away(by_hand: ByHand, clock: FakeClock) -> None:
    """The last `put` decides."""
    await by_hand.put("a", 1, expires=60)
    await by_hand.put("a", 1)
    clock.advance(1e9)

    assert await by_hand.has("a")


@pytest.mark.parametrize(
    "expires", [0, -1, -0.5, timedelta(0), timedelta(seconds=-1), float("nan"), "soon", True], ids=repr
)
async def test_an_end_that_cannot_be_is_refused(by_hand: ByHand, expires: Any) -> None:
    """Conformance 2: zero and negative are an error, and what is no duration."""
    with pytest.raises(InvalidOption, match="expires"):
        await by_hand.put("a", 1, expires=expires)


@pytest.mark.parametrize("value", [None, "", 0, False, []], ids=repr)
async def test_an_empty_value_is_told_apart_from_a_miss(by_hand: ByHand, value: object) -> None:
    """Conformance 3."""
    await by_hand.put("a", value)

    assert (await by_hand.get("a"), await by_hand.has("a")) == (value, True)


async def test_putting_again_forgets_the_old_dependencies(by_hand: ByHand) -> None:
    """Conformance 4: what the new value does not hang on does not touch it."""
    await by_hand.put("a", 1, dep.Tag("old"))
    await by_hand.put("a", 1, dep.Tag("new"))

    await by_hand.invalidate(dep.Tag("old"))

    assert await by_hand.has("a")


async def test_putting_again_takes_the_new_dependencies(by_hand: ByHand) -> None:
    """Conformance 4: also when the value is equal."""
    await by_hand.put("a", 1, dep.Tag("old"))
    await by_hand.put("a", 1, dep.Tag("new"))

    await by_hand.invalidate(dep.Tag("new"))

    assert not await by_hand.has("a")


ODD_TEXTS = ["a:b", "1&y=2", "*", "#", "a.b", "", " ", "a", "b", "1", "\x00", "%", "\\", "'", '"', "a|b", "ä"]


@pytest.mark.parametrize("touched", [text for text in ODD_TEXTS if text], ids=repr)
async def test_delimiters_in_values_never_alias_another_dependency(by_hand: ByHand, touched: str) -> None:
    """Conformance 5: exactly the value that hangs on it goes."""
    for text in ODD_TEXTS:
        await by_hand.put(f"id {text}", 1, dep.Id("article", text))
        await by_hand.put(f"topic {text}", 1, dep.Topic("article", {"x": text, "y": "2"}))

    await by_hand.publish(
        Event.change("article", before={"id": touched}, after={"id": touched}), Event("article", {"x": touched, "y": 2})
    )

    gone = [kind for kind in ("id", "topic") for text in ODD_TEXTS if not await by_hand.has(f"{kind} {text}")]
    assert gone == ["id", "topic"]


async def test_a_value_that_cannot_be_encoded_is_an_error_that_names_the_type(by_hand: ByHand) -> None:
    """Conformance 6."""
    with pytest.raises(ValueNotSupported, match=r"put\('a'\): .*object"):
        await by_hand.put("a", [object()], dep.Tag("t"))


async def test_a_value_that_cannot_be_encoded_leaves_no_trace(by_hand: ByHand) -> None:
    """Conformance 6: what was there before stays, with its dependencies."""
    await by_hand.put("a", 1, dep.Tag("old"))
    before = await by_hand.stored("a")

    with pytest.raises(ValueNotSupported):
        await by_hand.put("a", object(), dep.Tag("t"))

    assert await by_hand.stored("a") == before


@pytest.mark.parametrize("value", [(1, 2), {1}, timedelta(1)], ids=repr)
async def test_a_value_that_would_come_back_as_another_type_is_refused(by_hand: ByHand, value: object) -> None:
    """`get` knows of no annotation, so what is put is plain data."""
    with pytest.raises(ValueNotSupported, match=r"put\('a'\): "):
        await by_hand.put("a", value)


async def test_an_invalidation_in_the_middle_of_a_put_wins(by_hand: ByHand) -> None:
    """Conformance 7: miss, load the old, invalidate, put the old: the next get misses."""
    with pytest.raises(NotInCache):
        await by_hand.get("a")
    old = "loaded before the event"
    await by_hand.invalidate(dep.Tag("t"))
    await by_hand.put("a", old, dep.Tag("t"))

    assert not await by_hand.has("a")


async def test_a_delete_in_the_middle_of_a_put_wins(by_hand: ByHand) -> None:
    """Miss, load the old, delete, put the old: the next get misses, though nothing was there to be deleted."""
    assert not await by_hand.has("a")
    assert await by_hand.delete("a", "b") == 0
    await by_hand.put("a", "old")

    assert not await by_hand.has("a")
    await by_hand.put("a", "new")
    assert await by_hand.get("a") == "new"


async def test_a_miss_seen_by_has_is_a_fence_too(by_hand: ByHand) -> None:
    """`if not has: put` is the same mistake to be kept from."""
    assert not await by_hand.has("a")
    await by_hand.invalidate(dep.Tag("t"))
    await by_hand.put("a", "old", dep.Tag("t"))

    assert not await by_hand.has("a")


async def test_an_invalidation_of_something_else_leaves_a_put_alone(by_hand: ByHand) -> None:
    """The fence is about the value's own dependencies."""
    assert not await by_hand.has("a")
    await by_hand.invalidate(dep.Tag("other"))
    await by_hand.put("a", 1, dep.Tag("t"))

    assert await by_hand.has("a")


async def test_an_invalidation_before_the_miss_leaves_a_put_alone(by_hand: ByHand) -> None:
    """What was loaded after the event is not out of date."""
    await by_hand.invalidate(dep.Tag("t"))
    assert not await by_hand.has("a")
    await by_hand.put("a", 1, dep.Tag("t"))

    assert await by_hand.has("a")


async def test_a_refused_put_does_not_fence_the_next_one(by_hand: ByHand) -> None:
    """Each miss is for one put: the value that is loaded after it has failed is new."""
    assert not await by_hand.has("a")
    await by_hand.invalidate(dep.Tag("t"))
    await by_hand.put("a", "old", dep.Tag("t"))
    await by_hand.put("a", "new", dep.Tag("t"))

    assert await by_hand.get("a") == "new"


async def test_a_miss_of_another_key_is_no_fence(by_hand: ByHand) -> None:
    """Each key has its own."""
    assert not await by_hand.has("b")
    await by_hand.invalidate(dep.Tag("t"))
    await by_hand.put("a", 1, dep.Tag("t"))

    assert await by_hand.has("a")


async def test_a_miss_in_another_task_is_no_fence(by_hand: ByHand) -> None:
    """Who missed and who puts are not the same, so nothing is known of when the value was loaded."""

    async def miss() -> None:
        assert not await by_hand.has("a")

    await in_empty_context(miss)
    await by_hand.invalidate(dep.Tag("t"))
    await by_hand.put("a", 1, dep.Tag("t"))

    assert await by_hand.has("a")


async def test_a_miss_fences_the_put_of_a_task_that_is_started_after_it(by_hand: ByHand) -> None:
    """Who loads in a task of its own loads after the miss, and is told so by the context that the task was given."""
    assert not await by_hand.has("a")
    await by_hand.invalidate(dep.Tag("t"))
    await asyncio.create_task(by_hand.put("a", "old", dep.Tag("t")))

    assert not await by_hand.has("a")


async def test_a_miss_fences_the_put_of_a_thread_that_is_started_after_it(cache: Cache) -> None:
    """`asyncio.to_thread` hands the context on."""
    assert not await cache.has("a")
    await cache.invalidate(dep.Tag("t"))
    await asyncio.to_thread(cache.blocking.put, "a", "old", dep.Tag("t"))

    assert not await cache.has("a")


async def test_tasks_that_miss_at_once_are_fenced_each_by_its_own_miss(by_hand: ByHand) -> None:
    """The one that looked before the event is refused, the one that looked after it is not."""
    has_missed, may_put = asyncio.Event(), asyncio.Event()

    async def load_and_put(key: str) -> None:
        assert not await by_hand.has(key)
        has_missed.set()
        await may_put.wait()
        await by_hand.put(key, 1, dep.Tag("t"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load_and_put("a"))
        await has_missed.wait()
        await by_hand.invalidate(dep.Tag("t"))
        tasks.create_task(load_and_put("b"))
        may_put.set()

    assert (await by_hand.has("a"), await by_hand.has("b")) == (False, True)


def test_each_thread_has_its_own_fence(cache: Cache) -> None:
    """One thread misses before the event and is refused; another comes after it and is not."""
    blocking = cache.blocking
    was_invalidated = threading.Event()
    has_missed = threading.Event()

    def loads_too_early() -> None:
        assert not blocking.has("a")
        has_missed.set()
        assert was_invalidated.wait(20)
        blocking.put("a", "old", dep.Tag("t"))

    def loads_in_time() -> None:
        assert not blocking.has("b")
        blocking.put("b", "new", dep.Tag("t"))

    with ThreadPoolExecutor(2) as threads:
        early = threads.submit(loads_too_early)
        assert has_missed.wait(20)
        blocking.invalidate(dep.Tag("t"))
        was_invalidated.set()
        early.result(20)
        threads.submit(loads_in_time).result(20)

    assert (blocking.has("a"), blocking.has("b")) == (False, True)


async def test_a_put_value_says_what_it_is(by_hand: ByHand) -> None:
    """An entry like any other, but without a function."""
    await by_hand.put("a", 1)
    entry = await by_hand.stored("a")

    assert (entry.key, entry.function, entry.state, entry.version) == ("a", "", State.FRESH, 1)


async def test_putting_another_value_is_a_new_version(by_hand: ByHand) -> None:
    """An equal one is not."""
    versions: list[int] = []
    for value in (1, 1, 2):
        await by_hand.put("a", value)
        versions.append((await by_hand.stored("a")).version)

    assert versions == [1, 1, 2]


async def test_a_built_value_is_got_as_plain_data(cache: Cache) -> None:
    """Under its key; `get` knows of no annotation."""

    @cache.cached(key="point:{n}")
    def point(n: int) -> tuple[int, int]:
        return (n, n)

    point(1)

    assert await cache.get("point:1") == [1, 1]


async def test_a_built_value_that_is_out_of_date_is_not_got(cache: Cache) -> None:
    """`get` builds nothing, and gives nothing old."""

    @cache.cached(depends_on=[dep.Tag("t")], key="value")
    def value() -> int:
        return 1

    value()
    await cache.invalidate(dep.Tag("t"))

    with pytest.raises(NotInCache):
        await cache.get("value")


async def test_a_function_does_not_take_a_value_put_under_its_key_for_its_own(cache: Cache) -> None:
    """It may be of any shape; the next call builds."""

    @cache.cached(key="value")
    def value() -> int:
        return 1

    await cache.put("value", {"anything": "else"})

    assert value() == 1


@pytest.mark.parametrize("key", ["", None, 5, b"a", "\ud800"], ids=repr)
async def test_a_key_that_cannot_be_is_refused(by_hand: ByHand, key: Any) -> None:
    """A text that can be written."""
    with pytest.raises(EverfreshError, match="is no key"):
        await by_hand.put(key, 1)


async def test_a_dependency_that_is_none_is_refused(by_hand: ByHand) -> None:
    """Nothing is stored that nothing could ever touch again."""
    with pytest.raises(InvalidDependency):
        await by_hand.put("a", 1, "article")

    assert not await by_hand.has("a")
