"""Keys: what tells calls apart, and the options that say so: `ignore`, `key`, `version`."""
# ruff: noqa: ANN401 - values of any type are what is tested

from typing import Any

import pytest

from everfresh import Cache, InvalidOption, dep
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done


def test_a_key_names_the_function_its_version_and_its_arguments(cache: Cache) -> None:
    """People read keys in logs, so a key says what it stands for."""

    @cache.cached(version=3)
    def page(number: int, *, order: str = "asc") -> str:
        return f"{number} {order}"

    function = "test_a_key_names_the_function_its_version_and_its_arguments.<locals>.page"

    assert page.key(7) == f'{__name__}.{function}@3(number=7, order="asc")'


def test_the_key_of_an_entry_is_the_key_of_its_call(cache: Cache) -> None:
    """`f.key(...)` says under which name `f(...)` is stored."""

    @cache.cached
    def double(n: int) -> int:
        return 2 * n

    double(4)
    stored = cache.blocking.stored(double.key(4))

    assert stored is not None
    assert double.load(stored) == 8


async def test_an_ignored_argument_does_not_tell_calls_apart(colour: Colour) -> None:
    """What does not change the result, a client or a logger, may differ."""

    @colour.cached(ignore=("client",))
    async def title(number: int, client: str = "none") -> str:
        return f"{number} by {client}"

    values = [await done(title(1, client="a")), await done(title(1, client="b")), await done(title(1))]

    assert values == ["1 by a"] * 3


async def test_an_ignored_argument_need_not_have_a_canonical_form(colour: Colour) -> None:
    """A connection is exactly what one wants to leave out."""

    @colour.cached(ignore=("connection",))
    async def title(number: int, connection: object = None) -> str:
        return f"{number} {connection is not None}"

    assert await done(title(1, connection=object())) == "1 True"


async def test_a_background_refresh_runs_without_the_ignored_argument(colour: Colour) -> None:
    """Nobody can keep a caller's connection for later, so a worker builds with the default."""

    @colour.cached(ignore=("client",), depends_on=[dep.Tag("t")])
    async def title(number: int, client: str = "none") -> str:
        return f"{number} by {client}"

    await done(title(1, client="a"))
    async with Worker(colour.cache):
        await colour.cache.invalidate(dep.Tag("t"))

        await soon(lambda: _is(title, "1 by none"), what="a value built with the default")


async def _is(title: Any, value: str) -> bool:
    return await done(title.peek(1)) == value


async def test_a_key_can_be_named_by_hand(colour: Colour) -> None:
    """Other programs, and people, find the entry by it."""

    @colour.cached(key="reviews:{email}:{page}")
    async def reviews(email: str, page: int = 1) -> str:
        return f"{email} {page}"

    await done(reviews("ann@example.org"))

    assert await colour.cache.get("reviews:ann@example.org:1") == "ann@example.org 1"


@pytest.mark.parametrize("template", ["{a}:{b}", "{a}-{b}", "{a}, {b}", "{a}!{b}", "{a}@x@{b}"])
def test_delimiters_in_arguments_never_make_two_calls_one(cache: Cache, template: str) -> None:
    """With a key named by hand, ("x-y", "z") and ("x", "y-z") are still two calls."""
    delimiter = template[3:-3]

    @cache.cached(key=template)
    def joined(a: str, b: str) -> list[str]:
        return [a, b]

    pairs = [(f"x{delimiter}y", "z"), ("x", f"y{delimiter}z"), ("x", "y"), ("x%2Dy", "z"), ("", ""), ("!1", "!")]
    values = [joined(a, b) for a, b in pairs]

    assert values == [[a, b] for a, b in pairs]


def test_types_are_told_apart_in_a_key_named_by_hand(cache: Cache) -> None:
    """None and "None", 7 and "7" are different arguments."""

    @cache.cached(key="t:{value}")
    def name_of(value: Any) -> str:
        return repr(value)

    values = (None, "None", "null", 7, "7", True, "true", 1.0, [1], "[1]", "!null")

    assert [name_of(value) for value in values] == [repr(value) for value in values]


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("reviews", "leaves out"),
        ("{email}", "leaves out"),
        ("{email}{page}", "nothing parts"),
        ("{email}%{page}", "nothing parts"),
        ("{email}x{page}", "nothing parts"),
        ("{email}:{nobody}", "no parameter"),
        ("{email:.1}:{page}", "plain parameter names"),
        ("{email!r}:{page}", "plain parameter names"),
        ("{email.name}:{page}", "plain parameter names"),
        ("{email", "braces"),
    ],
)
def test_a_template_that_could_mix_calls_up_is_refused(cache: Cache, template: str, complaint: str) -> None:
    """At the declaration, and the message says what to mend."""

    def reviews(email: str, page: int) -> str:
        return f"{email} {page}"

    with pytest.raises(InvalidOption, match=complaint):
        cache.cached(key=template)(reviews)


def test_two_functions_cannot_have_one_key(cache: Cache) -> None:
    """One would be served what the other built."""

    @cache.cached(key="user:{number}")
    def user(number: int) -> str:
        return f"user {number}"

    def account(number: int) -> str:
        return f"account {number}"

    with pytest.raises(InvalidOption, match="same key"):
        cache.cached(key="user:{number}")(account)


def test_two_functions_whose_keys_meet_are_not_served_each_others_values(cache: Cache) -> None:
    """Two templates may give one text for some arguments; the function is part of what is stored."""

    @cache.cached(key="a:{x}")
    def one(x: str) -> str:
        return f"one {x}"

    @cache.cached(key="{y}:b")
    def other(y: str) -> str:
        return f"other {y}"

    values = [function("b" if function is one else "a") for function in (one, one, one, other, other, one)]

    assert values == ["one b", "one b", "one b", "other a", "other a", "one b"]


def test_a_template_may_leave_out_what_is_ignored(cache: Cache) -> None:
    """What does not tell calls apart has no place in the key."""

    @cache.cached(key="title:{number}", ignore=("client",))
    def title(number: int, client: str = "none") -> str:
        return f"{number} by {client}"

    assert title.key(1, client="a") == "title:1"


async def test_another_version_does_not_see_the_values_of_the_old_one(colour: Colour) -> None:
    """Raise `version` when the code changes what it makes."""

    def declare(version: int, text: str) -> Any:
        @colour.cached(version=version)
        async def title() -> str:
            return text

        return title

    old = declare(1, "old")
    await done(old())

    assert await done(declare(2, "new")()) == "new"


@pytest.mark.parametrize(
    ("ignore", "complaint"),
    [
        (("nobody",), "no parameter"),
        (("number",), "no default"),
        ("client", "tuple of names"),
    ],
)
def test_an_ignore_that_cannot_be_kept_is_refused(cache: Cache, ignore: Any, complaint: str) -> None:
    """At the declaration, and the message says what to mend."""

    def title(number: int, client: str = "none") -> str:
        return f"{number} {client}"

    with pytest.raises(InvalidOption, match=complaint):
        cache.cached(ignore=ignore)(title)
