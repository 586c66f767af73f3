"""What people look at: lists of entries, those that failed; and how they drop or retry some. Conformance 28."""

from collections.abc import Iterable

import pytest

from everfresh import Cache, InvalidOption, Listed, State, dep
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done, is_fresh
from tests.cache.upstreams import Broken, Upstream


@pytest.fixture
async def pages(by_hand: ByHand) -> None:
    """Values under keys of two kinds."""
    for number in (10, 2, 1):
        await by_hand.put(f"page:{number}", number)
    await by_hand.put("user:1", {"name": "Ann"}, dep.Tag("t"))


def keys(listed: Iterable[Listed]) -> list[str]:
    """Of what was listed."""
    return [one.key for one in listed]


@pytest.mark.usefixtures("pages")
async def test_entries_are_listed_by_their_keys(by_hand: ByHand) -> None:
    """In order, without their values."""
    listed = await by_hand.entries()

    assert keys(listed) == ["page:1", "page:10", "page:2", "user:1"]
    assert (listed[0].state, listed[0].version, listed[0].n_bytes, listed[0].function) == (State.FRESH, 1, 1, "")


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("page:*", ["page:1", "page:10", "page:2"]),
        ("page:?", ["page:1", "page:2"]),
        ("*:1", ["page:1", "user:1"]),
        ("PAGE:*", []),
        ("page:[12]", ["page:1", "page:2"]),
    ],
)
async def test_a_pattern_chooses_among_the_keys(by_hand: ByHand, pattern: str, found: list[str]) -> None:
    """As it does among the names of files; letters are told apart by their case."""
    assert keys(await by_hand.entries(pattern=pattern)) == found


async def test_entries_of_one_function_are_listed(colour: Colour) -> None:
    """By the function, or by its name; a put value is of none, which is the empty name."""

    @colour.cached()
    async def one(n: int) -> int:
        return n

    @colour.cached()
    async def other() -> int:
        return 1

    for call in (one(1), one(2), other()):
        await done(call)
    await colour.cache.put("k", 1)
    cache = colour.cache

    assert keys(await cache.entries(one)) == keys(await cache.entries(one.name)) == [one.key(1), one.key(2)]
    assert (keys(await cache.entries("")), len(await cache.entries())) == (["k"], 4)


async def test_entries_in_one_state_are_listed(colour: Colour, upstream: Upstream) -> None:
    """By the state, or by its name."""

    @colour.cached(depends_on=[dep.Tag(dep.arg("name"))])
    async def value(name: str) -> str:
        return name

    await done(value("a"))
    await done(value("b"))
    await colour.cache.invalidate(dep.Tag("b"))
    cache = colour.cache

    assert keys(await cache.entries(state="dirty")) == keys(await cache.entries(state=State.DIRTY)) == [value.key("b")]


async def test_a_state_that_is_none_is_refused(by_hand: ByHand) -> None:
    """With those that there are."""
    with pytest.raises(InvalidOption, match="'stale' is none"):
        await by_hand.entries(state="stale")


async def test_a_long_list_is_whole(cache: Cache) -> None:
    """It is read page by page, and no page's end loses or doubles an entry."""
    for number in range(2_001):
        cache.blocking.put(f"{number:04}", number)

    listed = await cache.entries()

    assert keys(listed) == [f"{number:04}" for number in range(2_001)]


@pytest.mark.usefixtures("pages")
async def test_entries_are_dropped_by_pattern(by_hand: ByHand) -> None:
    """As many as match, and no other."""
    n_dropped = await by_hand.drop(pattern="page:1*")

    assert (n_dropped, keys(await by_hand.entries())) == (2, ["page:2", "user:1"])


async def test_entries_are_dropped_by_function(colour: Colour) -> None:
    """The next reader builds them."""
    executed: list[int] = []

    @colour.cached()
    async def one(n: int) -> int:
        executed.append(n)
        return n

    @colour.cached()
    async def other() -> int:
        return 1

    for _ in range(2):
        for call in (one(1), one(2), other()):
            await done(call)
    n_dropped = await colour.cache.drop(one, pattern="*n=1)")
    for n in (1, 2):
        await done(one(n))

    assert (n_dropped, executed) == (1, [1, 2, 1])
    assert (await colour.cache.drop(one), await is_fresh(other)) == (2, True)


@pytest.mark.usefixtures("pages")
async def test_nothing_named_drops_nothing(by_hand: ByHand) -> None:
    """An argument that was forgotten must not empty the cache."""
    with pytest.raises(InvalidOption, match="nothing is named"):
        await by_hand.drop()

    assert len(await by_hand.entries()) == 4


async def test_what_failed_for_good_is_listed(colour: Colour, upstream: Upstream) -> None:
    """With its last error and how often it was tried."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    before = await colour.cache.failed()
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    failed = await colour.cache.failed()

    assert before == []
    assert [(one.key, one.reason, one.attempts) for one in failed] == [(value.key(), "Broken: the upstream is down", 1)]


async def test_what_failed_is_retried_by_hand(colour: Colour, upstream: Upstream) -> None:
    """A worker builds it at once; what is fresh, or not there, is left alone."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    await colour.cache.put("k", 1)
    upstream.is_broken, upstream.value = False, 2
    async with Worker(colour.cache):
        n_retried = await colour.cache.retry(value.key(), "k", "nobody's")
        await soon(lambda: is_fresh(value), what="the retry")

    assert (n_retried, await done(value.peek()), await colour.cache.failed()) == (1, 2, [])


async def test_retrying_nothing_is_no_error(by_hand: ByHand) -> None:
    """A list of failed ones may be empty."""
    assert await by_hand.retry() == 0


@pytest.mark.parametrize("operation", ["entries", "coverage", "drop"])
@pytest.mark.parametrize("name", ["shop.menu", "menu@", "menu@two", "@1", "me\udcffnu@1"])
async def test_a_name_that_no_function_can_have_is_refused(by_hand: ByHand, operation: str, name: str) -> None:
    """Else a slip of the pen would say that nothing is there, and all of that is built."""
    with pytest.raises(InvalidOption, match=r"is no function's name\. Names are module\.qualname@version"):
        await getattr(by_hand, operation)(name)


@pytest.mark.parametrize("operation", ["entries", "coverage", "drop"])
async def test_what_is_no_cached_function_is_refused(by_hand: ByHand, operation: str) -> None:
    """A number has no name, and a function that is not cached has none that is known here."""
    for wrong in (42, keys):
        with pytest.raises(InvalidOption, match=r"is no cached function\. Give one, or its name"):
            await getattr(by_hand, operation)(wrong)


async def test_a_function_of_another_process_may_have_no_entries(by_hand: ByHand) -> None:
    """Its name is well formed, and nobody here knows all that there are."""
    assert await by_hand.entries("shop.menu@1") == []
