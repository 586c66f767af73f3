"""`cache_errors`: errors that are results like any other; all others are raised and forgotten."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from everfresh import FOREVER, Cache, NotInCache, State, dep
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.recording import recording
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


class NotFound(LookupError):
    """Says which, and takes other arguments than it hands on."""

    def __init__(self, number: int) -> None:
        super().__init__(f"no article {number}")
        self.number = number
        self.where = Path("/articles")


class Gone(NotFound):
    """A kind of it."""


class Articles:
    """A cached function that finds nothing, and how often it looked."""

    def __init__(self, colour: Colour, error: Exception | None = None, **options: Any) -> None:  # noqa: ANN401 - as named
        self.error = error
        self.n_looked = 0

        @colour.cached(
            depends_on=[dep.Id("article", dep.arg("number"))], **({"cache_errors": (LookupError,)} | options)
        )
        async def article(number: int) -> str:
            self.n_looked += 1
            if self.error is not None:
                raise self.error
            return f"article {number}"

        self.cached = article


async def test_an_error_that_is_named_is_stored_and_raised_anew(colour: Colour) -> None:
    """The function runs once; the error has its own type, arguments and attributes each time."""
    articles = Articles(colour, NotFound(7))
    raised: list[NotFound] = []
    for _ in range(3):
        with pytest.raises(NotFound, match="no article 7") as caught:
            await done(articles.cached(7))
        raised.append(caught.value)

    assert articles.n_looked == 1
    assert [(type(error), error.args, error.number) for error in raised] == [(NotFound, ("no article 7",), 7)] * 3
    assert len(set(map(id, raised))) == 3


async def test_an_error_that_is_not_named_is_not_stored(colour: Colour) -> None:
    """The next caller tries again."""
    articles = Articles(colour, Broken("down"))
    for _ in range(2):
        with pytest.raises(Broken):
            await done(articles.cached(7))

    assert articles.n_looked == 2
    assert await done(articles.cached.entry(7)) is None


async def test_a_kind_of_a_named_error_is_stored_as_what_it_is(colour: Colour) -> None:
    """Who names the base names them all."""
    articles = Articles(colour, Gone(7))
    for _ in range(2):
        with pytest.raises(Gone):
            await done(articles.cached(7))

    assert articles.n_looked == 1


async def test_an_entry_says_that_it_is_an_error(colour: Colour) -> None:
    """It is fresh: nothing is wrong with it. Who loads or peeks at it gets the error."""
    articles = Articles(colour, NotFound(7))
    with pytest.raises(NotFound):
        await done(articles.cached(7))
    entry = await entry_of(articles.cached, 7)

    assert (entry.is_error, entry.state, entry.attempts) == (True, State.FRESH, 0)
    with pytest.raises(NotFound):
        articles.cached.load(entry)
    with pytest.raises(NotFound):
        await done(articles.cached.peek(7))


async def test_an_event_ends_it(colour: Colour) -> None:
    """As it ends a value: the article is there now."""
    articles = Articles(colour, NotFound(7))
    with pytest.raises(NotFound):
        await done(articles.cached(7))
    articles.error = None
    await colour.cache.invalidate(dep.Id("article", 7))

    assert await done(articles.cached(7)) == "article 7"
    assert (await entry_of(articles.cached, 7)).is_error is False


async def test_a_worker_refreshes_it_to_a_value_and_back(colour: Colour) -> None:
    """Both are changes, and neither is a failure."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))
    articles = Articles(colour)
    await done(articles.cached(7))

    async with Worker(colour.cache):
        articles.error = NotFound(7)
        await colour.cache.invalidate(dep.Id("article", 7))
        await soon(lambda: is_fresh(articles.cached, 7), what="the refresh")
        entry = await entry_of(articles.cached, 7)

    assert (entry.is_error, entry.version) == (True, 2)
    assert "refresh.failed" not in told


async def test_an_error_is_a_result_and_no_old_value_stands_in_for_it(colour: Colour) -> None:
    """`stale_if_error` is for builds that fail."""
    articles = Articles(colour, stale_if_error=FOREVER)
    await done(articles.cached(7))
    articles.error = NotFound(7)
    await colour.cache.invalidate(dep.Id("article", 7))

    with pytest.raises(NotFound):
        await done(articles.cached(7))


async def test_an_old_error_is_served_as_an_old_value_is(colour: Colour) -> None:
    """Within the bounds."""
    articles = Articles(colour, NotFound(7), stale_while_revalidate=FOREVER)
    with pytest.raises(NotFound):
        await done(articles.cached(7))
    articles.error = Broken("down")
    await colour.cache.invalidate(dep.Id("article", 7))

    with pytest.raises(NotFound):
        await done(articles.cached(7))


async def test_an_error_that_expires_is_looked_for_again(colour: Colour, clock: FakeClock) -> None:
    """The usual way to remember for a while that something is not there."""
    articles = Articles(colour, NotFound(7), expires=timedelta(seconds=5))
    with pytest.raises(NotFound):
        await done(articles.cached(7))
    articles.error = None
    clock.advance(5)

    assert await done(articles.cached(7)) == "article 7"


async def test_an_error_is_never_held_near(colour: Colour) -> None:
    """Each reader gets one of its own from the store."""
    articles = Articles(colour, NotFound(7))
    for _ in range(3):
        with pytest.raises(NotFound):
            await done(articles.cached(7))

    assert len(colour.cache.engine.near) == 0


async def test_two_processes_raise_the_same(open_cache: OpenCache, sqlite_url: str, is_async: bool) -> None:
    """The one that did not build makes the error from what is stored."""
    one, other = (Articles(Colour(open_cache(sqlite_url), is_async=is_async), NotFound(7)) for _ in range(2))

    with pytest.raises(NotFound):
        await done(one.cached(7))
    with pytest.raises(NotFound, match="no article 7"):
        await done(other.cached(7))
    assert (one.n_looked, other.n_looked) == (1, 0)


async def test_a_waiter_gets_it_as_its_own(colour: Colour, gate: Gate) -> None:
    """One run, an error each."""
    n_looked = [0]

    @colour.cached(cache_errors=(NotFound,))
    async def article(number: int) -> str:
        n_looked[0] += 1
        await gate.stop()
        raise NotFound(number)

    tasks = [colour.start(article, 7) for _ in range(3)]
    await gate.reached()
    gate.open()

    for task in tasks:
        with pytest.raises(NotFound):
            await task
    assert n_looked == [1]


async def test_what_is_built_from_a_cached_error_depends_on_it(colour: Colour) -> None:
    """The outer value is whole, and is built again when the error is over."""
    articles = Articles(colour, NotFound(7))

    @colour.cached()
    async def title() -> str:
        try:
            return await done(articles.cached(7))
        except NotFound:
            return "nothing"

    titles = [await done(title()), await done(title())]
    entry = await entry_of(title)
    articles.error = None
    await colour.cache.invalidate(dep.Id("article", 7))
    titles.append(await done(title()))

    assert titles == ["nothing", "nothing", "article 7"]
    assert entry.state is State.FRESH


async def test_an_outer_function_may_cache_the_inner_error_too(colour: Colour) -> None:
    """If it names it; and the event goes through."""
    articles = Articles(colour, NotFound(7))
    n_built = [0]

    @colour.cached(cache_errors=(NotFound,))
    async def title() -> str:
        n_built[0] += 1
        return await done(articles.cached(7))

    for _ in range(2):
        with pytest.raises(NotFound):
            await done(title())
    n_before = n_built[0]
    articles.error = None
    await colour.cache.invalidate(dep.Id("article", 7))

    assert (n_before, await done(title())) == (1, "article 7")


async def test_many_raises_a_cached_error(colour: Colour) -> None:
    """Where an ordinary read would."""
    articles = Articles(colour, NotFound(7))

    for _ in range(2):
        with pytest.raises(NotFound):
            await done(articles.cached.many([7]))
    assert articles.n_looked == 1


async def test_an_error_that_is_no_plain_data_is_raised_with_a_note(colour: Colour) -> None:
    """Its type is named, but it cannot be written; nobody wonders for long why it is not cached."""
    articles = Articles(colour, LookupError("no", object()))
    with pytest.raises(LookupError) as caught:
        await done(articles.cached(7))

    assert await done(articles.cached.entry(7)) is None
    assert "not cached" in caught.value.__notes__[0]


async def test_an_error_of_the_cache_itself_is_not_cached(colour: Colour) -> None:
    """That a key is not in the cache is a KeyError too, but says nothing of the source."""
    n_built = [0]

    @colour.cached(cache_errors=(KeyError,))
    async def value() -> str:
        n_built[0] += 1
        raise NotInCache("not there")

    for _ in range(2):
        with pytest.raises(NotInCache):
            await done(value())

    assert n_built == [2]


async def test_who_watches_is_told_of_an_error_at_first_only(colour: Colour, upstream: Upstream) -> None:
    """Later the last value stands until there is another."""
    error: list[Exception] = []

    @colour.cached(depends_on=[upstream.tag], cache_errors=(NotFound,))
    async def value() -> int:
        if error:
            raise error[0]
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        error.append(NotFound(7))
        await upstream.announce()
        with pytest.raises(NotFound):
            await done(value())
        error.clear()
        await upstream.change(2)
        seen.append(await watch.next())
    error.append(NotFound(7))
    await upstream.announce()
    async with colour.watching(value) as watch:
        with pytest.raises(NotFound):
            await watch.next()

    assert seen == [1, 2]


async def test_one_reading_of_a_cached_error_is_one_step(cache: Cache) -> None:
    """It costs what a value costs."""

    @cache.cached(cache_errors=(NotFound,))
    def article(number: int) -> str:
        raise NotFound(number)

    with pytest.raises(NotFound):
        article(7)
    with recording(cache) as steps, pytest.raises(NotFound):
        article(7)

    assert len(steps.all) == 1


@pytest.fixture(params=["blocking", "asyncio"])
def is_async(request: pytest.FixtureRequest) -> bool:
    """Both colours."""
    return request.param == "asyncio"
