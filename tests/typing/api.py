"""What the type checkers prove of the public names; never executed.

A cached function keeps the colour, the parameters and the result of the function that it was made from. Each line that
is marked as an error must be one, in mypy and in basedpyright: a mark that is not needed is an error itself.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from everfresh import (
    FOREVER,
    AsyncFunction,
    AsyncManyFunction,
    Cache,
    Entry,
    Event,
    Explanation,
    Key,
    Notice,
    Position,
    Sight,
    SyncFunction,
    dep,
    track,
)

cache = Cache("memory:")
locale = ContextVar[str]("locale")


@dataclass(frozen=True)
class Bug:
    id: int


# ----------------------------------------------------------------------------------------------- without options


@cache.cached
async def reviews(email: str, /, product: str = "Fedora", *, limit: int = 10) -> list[Bug]:
    return []


@cache.cached
def article(article_id: int, *tags: str, **fields: bool) -> Bug:
    track(dep.Id("article", article_id))
    return Bug(article_id)


async def an_async_function_stays_one() -> None:
    assert_type(await reviews("a"), list[Bug])
    assert_type(await reviews("a", "Debian", limit=5), list[Bug])
    assert_type(await reviews.fresh("a", product="Debian"), list[Bug])
    assert_type(await reviews.refresh("a", limit=5), list[Bug])
    assert_type(await reviews.peek("a"), list[Bug] | None)
    assert_type(await reviews.entry("a"), Entry | None)
    async for bugs in reviews.watch("a", limit=5):
        assert_type(bugs, list[Bug])
    async for sight in cache.watch(reviews.key("a"), "by hand", pattern="reviews:*", from_now=True):
        assert_type(sight, Sight)


def a_sync_function_stays_one() -> None:
    assert_type(article(7), Bug)
    assert_type(article(7, "a", "b", title=True), Bug)
    assert_type(article.fresh(7, "a"), Bug)
    assert_type(article.refresh(7, title=True), Bug)
    assert_type(article.peek(7), Bug | None)
    assert_type(article.entry(7), Entry | None)
    for bug in article.watch(7, "a"):
        assert_type(bug, Bug)


def both_have_names_and_keys(entry: Entry) -> None:
    assert_type(reviews.name, str)
    assert_type(article.name, str)
    assert_type(reviews.key("a", limit=5), Key)
    assert_type(article.key(7, "a"), Key)
    assert_type(reviews.load(entry), list[Bug])
    assert_type(article.load(entry), Bug)


async def wrong_arguments_of_an_async_function_are_errors() -> None:
    await reviews()  # type: ignore[call-arg]
    await reviews(7)  # type: ignore[arg-type]
    await reviews(email="a")  # type: ignore[call-arg]
    await reviews("a", "b", 5)  # type: ignore[call-arg]
    await reviews.fresh("a", limit="5")  # type: ignore[arg-type]
    await reviews.refresh(7)  # type: ignore[arg-type]
    await reviews.peek("a", size=5)  # type: ignore[call-arg]
    await reviews.entry()  # type: ignore[call-arg]
    reviews.key(7)  # type: ignore[arg-type]
    async for _ in reviews.watch(7):  # type: ignore[arg-type]
        pass


def wrong_arguments_of_a_sync_function_are_errors() -> None:
    article()  # type: ignore[call-arg]
    article("7")  # type: ignore[arg-type]
    article(7, 8)  # type: ignore[arg-type]
    article(7, title="x")  # type: ignore[arg-type]
    article.fresh("7")  # type: ignore[arg-type]
    article.refresh()  # type: ignore[call-arg]
    article.peek("7")  # type: ignore[arg-type]
    article.entry("7")  # type: ignore[arg-type]
    article.key("7")  # type: ignore[arg-type]
    for _ in article.watch("7"):  # type: ignore[arg-type]
        pass


async def the_wrong_colour_is_an_error() -> None:
    await article(7)  # type: ignore[misc]
    await article.fresh(7)  # type: ignore[misc]
    await article.entry(7)  # type: ignore[misc]
    len(reviews("a"))  # type: ignore[arg-type]
    len(reviews.fresh("a"))  # type: ignore[arg-type]
    for _ in reviews.watch("a"):  # type: ignore[attr-defined]
        pass
    async for _ in article.watch(7):  # type: ignore[attr-defined]
        pass


# -------------------------------------------------------------------------------------------------- with options


@cache.cached()
async def summary(product: str) -> Mapping[str, int]:
    return {}


def concerns(event: Event, product: str) -> bool:
    return bool(event.body["product"] == product)


@cache.cached(
    depends_on=[dep.Topic("bug.*", {"bug.product": dep.arg("product")}), dep.Tag("home")],
    stale_while_revalidate=FOREVER,
    stale_if_error=timedelta(hours=1),
    on_change="drop",
    max_attempts=3,
    version=2,
    key="count:{product}",
    ignore=("session",),
    secret=("product",),
    inherit=(locale,),
    expires=60,
    cache_errors=(LookupError, OSError),
    should_refresh=concerns,
    topics=["bug.*"],
    keep_warm=timedelta(days=7),
    settle=[timedelta(seconds=2)],
    settled=lambda event, value: value == event.body["count"],
    debounce=timedelta(seconds=1),
    max_wait=timedelta(seconds=5),
    priority=1,
    job_expires=timedelta(hours=1),
    concurrency=4,
    rate=2.5,
    wait_timeout=timedelta(seconds=5),
)
def count(product: str, session: object = None) -> int:
    return 0


@cache.cached(stale_if_error=FOREVER)
async def nothing() -> None:
    return None


async def options_change_no_type() -> None:
    assert_type(await summary("a"), Mapping[str, int])
    assert_type(await summary.peek("a"), Mapping[str, int] | None)
    async for counts in summary.watch("a"):
        assert_type(counts, Mapping[str, int])
    assert_type(count("a"), int)
    assert_type(count.fresh("a", session=None), int)
    assert_type(count.peek(product="a"), int | None)
    assert_type(count.entry("a"), Entry | None)
    for number in count.watch("a"):
        assert_type(number, int)
    await nothing()
    await nothing.fresh()


async def wrong_arguments_are_errors_with_options_too() -> None:
    await summary(7)  # type: ignore[arg-type]
    await summary.fresh()  # type: ignore[call-arg]
    await nothing(7)  # type: ignore[call-arg]
    count(7)  # type: ignore[arg-type]
    count.fresh("a", user=None)  # type: ignore[call-arg]
    await count("a")  # type: ignore[misc]
    len(summary("a"))  # type: ignore[arg-type]


def wrong_options_are_errors() -> None:
    cache.cached(stale_while_revalidate=30)  # type: ignore[call-overload]
    cache.cached(stale_if_error=None)  # type: ignore[call-overload]
    cache.cached(on_change="forget")  # type: ignore[call-overload]
    cache.cached(depends_on=dep.Tag("home"))  # type: ignore[call-overload]
    cache.cached(depends_on=["home"])  # type: ignore[list-item]
    cache.cached(expires="1h")  # type: ignore[call-overload]
    cache.cached(cache_errors=LookupError)  # type: ignore[call-overload]
    cache.cached(settle=timedelta(seconds=2))  # type: ignore[call-overload]
    cache.cached(priority="high")  # type: ignore[call-overload]
    cache.cached(ttl=30)  # type: ignore[call-overload]
    cache.cached(inherit=("locale",))  # type: ignore[arg-type]
    cache.cached(7)  # type: ignore[call-overload]


# ---------------------------------------------------------------------------------------------------- other readings


async def an_async_function_can_be_read_after_a_position(position: Position) -> None:
    assert_type(await reviews.read(after=position)("a", limit=5), list[Bug])
    await reviews.read(after=position)(7)  # type: ignore[arg-type]
    await reviews.read(position)("a")  # type: ignore[call-arg]
    await reviews.read(after="e1.7")("a")  # type: ignore[arg-type]
    len(reviews.read(after=position)("a"))  # type: ignore[arg-type]


def a_sync_function_can_be_read_after_a_position(position: Position) -> None:
    assert_type(article.read(after=position)(7, "a", title=True), Bug)
    article.read(after=position)("7")  # type: ignore[arg-type]


async def many_calls_give_a_list() -> None:
    assert_type(await reviews.many([("a",), ("a", "Debian")]), list[list[Bug]])
    assert_type(await summary.many(["a", "b"]), list[Mapping[str, int]])
    assert_type(count.many(["a", "b"]), list[int])
    assert_type(await summary.warm(["a", "b"]), int)
    assert_type(count.warm(["a", "b"]), int)
    assert_type(await summary.explain("a"), Explanation)
    assert_type(count.explain("a"), Explanation)
    await summary.explain(7)  # type: ignore[arg-type]


@cache.cached_many
async def bugs(ids: list[int]) -> dict[int, Bug]:
    return {}


@cache.cached_many(depends_on=[dep.Id("name", dep.arg("ids"))], expires=60)
def names(ids: Sequence[str], locale: str = "en") -> Mapping[str, str]:
    return {}


async def an_async_function_of_many_ids_gives_a_dict(position: Position) -> None:
    assert_type(bugs, AsyncManyFunction[int, [], Bug])
    assert_type(await bugs([1, 2]), dict[int, Bug])
    assert_type(await bugs(range(3)), dict[int, Bug])
    assert_type(await bugs.fresh({1, 2}), dict[int, Bug])
    assert_type(await bugs.read(after=position)([1, 2]), dict[int, Bug])
    assert_type(await bugs.warm([1, 2]), int)
    assert_type(await bugs.one(1), Bug | None)
    assert_type(await bugs.one.entry(1), Entry | None)
    assert_type(bugs.one.key(1), Key)
    await bugs(["a"])  # type: ignore[list-item]
    await bugs(1)  # type: ignore[arg-type]
    await bugs([1], "de")  # type: ignore[call-arg]
    await bugs.one("a")  # type: ignore[arg-type]


def a_sync_function_of_many_ids_gives_a_dict(position: Position) -> None:
    assert_type(names(["a"], "de"), dict[str, str])
    assert_type(names(["a"], locale="de"), dict[str, str])
    assert_type(names.fresh(["a"]), dict[str, str])
    assert_type(names.read(after=position)(["a"], "de"), dict[str, str])
    assert_type(names.warm(["a"], locale="de"), int)
    assert_type(names.one("a", "de"), str | None)
    names([1])  # type: ignore[list-item]
    names(["a"], 7)  # type: ignore[arg-type]


def functions_of_one_id_are_no_functions_of_many(plain: Callable[[int], str]) -> None:
    cache.cached_many(plain)  # type: ignore[arg-type]
    cache.cached_many(ttl=30)  # type: ignore[call-overload]


# -------------------------------------------------------------------------------------------------- passing them on


def takes_async(function: AsyncFunction[[str], Mapping[str, int]]) -> Awaitable[Mapping[str, int]]:
    return function("a")


def takes_sync(function: SyncFunction[[str], int]) -> int:
    return function("a")


def takes_plain(function: Callable[[str], int]) -> int:
    return function("a")


def takes_coroutine(function: Callable[[str], Awaitable[Mapping[str, int]]]) -> Awaitable[Mapping[str, int]]:
    return function("a")


@cache.cached
def length(text: str) -> int:
    return len(text)


def a_cached_function_is_passed_on_as_what_it_is() -> None:
    takes_async(summary)
    takes_coroutine(summary)
    takes_sync(length)
    takes_plain(length)
    takes_plain(count)
    takes_sync(summary)  # type: ignore[arg-type]
    takes_async(length)  # type: ignore[arg-type]
    takes_plain(summary)  # type: ignore[arg-type]
    takes_coroutine(length)  # type: ignore[arg-type]


def the_decorator_may_be_called(plain: Callable[[int], str]) -> None:
    assert_type(cache.cached(plain), SyncFunction[[int], str])
    assert_type(cache.cached()(plain), SyncFunction[[int], str])
    assert_type(cache.cached(version=2)(plain)(7), str)


class Prices:
    @staticmethod
    @cache.cached
    def price(article_id: int) -> float:
        return 0.0


assert_type(Prices.price(7), float)
Prices.price("7")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- the cache


async def the_cache_speaks_of_events_and_positions() -> None:
    assert_type(await cache.publish(Event("a"), Event.change("article", after={"id": 7})), Position)
    assert_type(await cache.invalidate(dep.Id("article", 7, watch=("title",)), dep.Call("f(1)")), Position)
    assert_type(await cache.position(), Position)
    assert_type(await cache.touched_by(Event.unknown("article")), list[Key])
    assert_type(await cache.stored("a"), Entry | None)
    await cache.put("a", 7, dep.Tag("home"), expires=60)
    await cache.put("a", 7, expires=timedelta(minutes=1))
    assert_type(await cache.get("a"), Any)
    assert_type(await cache.has("a"), bool)
    assert_type(await cache.delete("a", "b"), int)
    async with cache.feed(after=Position.parse("e1.7")) as feed:
        async for batch in feed:
            assert_type(batch.position, Position)


def the_blocking_cache_speaks_of_the_same() -> None:
    assert_type(cache.blocking.publish(Event("a", {"b": 7}, id="m-1")), Position)
    assert_type(cache.blocking.invalidate(dep.Tag("home")), Position)
    assert_type(cache.blocking.position(), Position)
    assert_type(cache.blocking.touched_by(Event("a")), list[Key])
    assert_type(cache.blocking.stored("a"), Entry | None)
    assert_type(cache.blocking.get("a"), Any)
    assert_type(cache.blocking.has("a"), bool)
    assert_type(cache.blocking.delete("a"), int)
    with cache as entered:
        assert_type(entered, Cache)


def notices_are_heard() -> None:
    heard: list[Notice] = []
    stop = cache.listen(heard.append)
    stop()


async def what_is_no_event_or_dependency_is_an_error() -> None:
    await cache.publish("bug.update")  # type: ignore[arg-type]
    await cache.publish([Event("a")])  # type: ignore[arg-type]
    await cache.invalidate("home")  # type: ignore[arg-type]
    await cache.touched_by(dep.Tag("home"))  # type: ignore[arg-type]
    await cache.put("a")  # type: ignore[call-arg]
    await cache.put("a", 7, "home")  # type: ignore[arg-type]
    await cache.blocking.publish(Event("a"))  # type: ignore[misc]
    cache.blocking.invalidate(Event("a"))  # type: ignore[arg-type]
    Event()  # type: ignore[call-arg]
    Event("a", ["b"])  # type: ignore[arg-type]
    Event.change("article", {}, {})  # type: ignore[call-arg]
    dep.Id("article")  # type: ignore[call-arg]
    dep.Id("article", 7, watch="title")  # type: ignore[arg-type]
    dep.Topic(7)  # type: ignore[arg-type]
    track("article")  # type: ignore[arg-type]
