"""Arguments that are secrets: they tell calls apart and stand nowhere that people look. Conformance 26."""

# ruff: noqa: ANN401 - secrets of any type are what is tested

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from everfresh import FOREVER, ArgumentNotSupported, Cache, Event, InvalidDependency, InvalidOption, dep
from everfresh.cache.secrets import hidden
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, is_fresh
from tests.cache.upstreams import Broken

TOKEN, OTHER = "t0k3n-of-ann", "t0k3n-of-bob"


async def test_two_users_hold_a_copy_each_and_an_event_touches_both(
    colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    """Conformance 26: nobody lists users, and no token stands in a key, a notice or a log."""
    caplog.set_level(logging.DEBUG, logger="everfresh")
    told: list[str] = []
    cache = colour.cache
    cache.listen(lambda notice: told.append(repr(notice)))

    @colour.cached(depends_on=[dep.Id("post", dep.arg("number"))], secret=("token",))
    async def post(number: int, token: str) -> str:
        return f"post {number} for {token[-3:]}"

    values = [await done(post(7, token)) for token in (TOKEN, OTHER)]
    touched = await cache.touched_by(Event.change("post", before={"id": 7}, after={"id": 7}))
    await cache.publish(Event.change("post", before={"id": 7}, after={"id": 7}))
    explained = [str(await cache.explain(key)) for key in touched]

    assert values == ["post 7 for ann", "post 7 for bob"]
    assert touched == sorted(post.key(7, token) for token in (TOKEN, OTHER))
    assert len(set(touched)) == 2
    assert TOKEN not in "\n".join([*touched, *explained, *told, caplog.text])


async def test_a_worker_builds_with_the_secret_itself(colour: Colour) -> None:
    """The recipe holds it, as the store holds what was made with it."""
    seen: list[str] = []

    @colour.cached(depends_on=[dep.Tag("t")], secret=("token",))
    async def value(token: str) -> int:
        seen.append(token)
        return len(seen)

    await done(value(TOKEN))
    async with Worker(colour.cache):
        await colour.cache.invalidate(dep.Tag("t"))
        await soon(lambda: len(seen) == 2, what="the refresh")
        await soon(lambda: is_fresh(value, TOKEN), what="its commit")

    assert seen == [TOKEN, TOKEN]


async def test_a_secret_in_a_key_named_by_hand_is_hidden_too(cache: Cache) -> None:
    """The place in the key is for its hash."""

    @cache.cached(key="inbox:{token}", secret=("token",))
    def inbox(token: str) -> int:
        return 1

    assert inbox.key(TOKEN) == f"inbox:{hidden(TOKEN)}"


@dataclass(frozen=True)
class Credentials:
    """A secret with parts."""

    user: str
    password: str


def quoted(token: str) -> Exception:
    """As a look-up in a dict fails."""
    return KeyError(token)


def encoded(token: str) -> Exception:
    """As a client tells of the address that it asked."""
    return Broken(f"GET /inbox?token={quote(token)}: 503")


def decoded(token: bytes) -> Exception:
    """What was bytes is a text in the error."""
    return Broken(token.decode())


def first(tokens: list[str]) -> Exception:
    """Of a list one element."""
    return Broken(f"refused: {tokens[0]}")


def looked_up(tokens: dict[str, str]) -> Exception:
    """Of a dict one value."""
    return Broken(f"refused: {tokens['inbox']}")


def taken_apart(token: Credentials) -> Exception:
    """Of an object one field."""
    return Broken(f"refused: {token.password}")


def wrapped(token: str) -> Exception:
    """The error that led to it says it as well."""
    error = Broken("refused, see below")
    error.__cause__ = Broken(token)
    return error


AWKWARD = "t0k3n's\\of\u2028ann"
LEAKS: list[tuple[Callable[[Any], Exception], object]] = [
    (Broken, TOKEN),
    (quoted, AWKWARD),
    (encoded, AWKWARD),
    (decoded, TOKEN.encode()),
    (first, [TOKEN, OTHER]),
    (looked_up, {"inbox": TOKEN}),
    (taken_apart, Credentials("ann", TOKEN)),
    (wrapped, TOKEN),
]


@pytest.fixture
def told(cache: Cache, caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was told: notices and logs."""
    caplog.set_level(logging.DEBUG, logger="everfresh")
    notices: list[str] = []
    cache.listen(lambda notice: notices.append(repr(notice)))
    return lambda: "\n".join([*notices, caplog.text])


@pytest.mark.parametrize(("failure", "token"), LEAKS, ids=[failure.__name__ for failure, _ in LEAKS])
async def test_of_an_error_only_the_type_is_told(
    colour: Colour, told: Callable[[], str], failure: Callable[[Any], Exception], token: Any
) -> None:
    """Whatever it says, and however it says it; who called the function gets all of it."""
    is_up = True

    async def inbox(token: Any) -> int:
        if not is_up:
            raise failure(token)
        return 1

    inbox.__annotations__["token"] = type(token)
    value = colour.cached(depends_on=[dep.Tag("t")], secret=("token",), max_attempts=1)(inbox)
    await done(value(token))
    is_up = False
    await colour.cache.invalidate(dep.Tag("t"))
    error = failure(token)
    with pytest.raises(type(error)) as raised:
        await done(value(token))
    (failed,) = await colour.cache.failed()
    explained = await colour.cache.explain(value.key(token))

    assert raised.value.args == error.args
    assert failed.reason == type(error).__name__
    assert explained.why == f"given up after once: {type(error).__name__}"
    assert "t0k3n" not in told()


async def test_nothing_of_a_short_secret_can_be_seen_by_what_is_missing(colour: Colour) -> None:
    """What is struck out would tell where it stood."""

    @colour.cached(secret=("pin",), max_attempts=1)
    async def value(pin: int) -> int:
        raise Broken("refused after 1 of 12 tries")

    notices: list[object] = []
    colour.cache.listen(lambda notice: notices.append(notice.fields.get("error")))
    with pytest.raises(Broken):
        await done(value(1))

    assert notices == ["Broken"]


async def test_who_called_it_tells_no_more(colour: Colour, told: Callable[[], str]) -> None:
    """The error goes on through functions without secrets, with its text."""

    @colour.cached(secret=("token",))
    async def inner(token: str) -> int:
        raise Broken(token)

    @colour.cached(depends_on=[dep.Tag("t")])
    async def outer() -> int:
        if is_up:
            return 1
        try:
            return await done(inner(TOKEN))
        except Broken as error:
            raise RuntimeError(f"no inbox: {error}") from error

    is_up = True
    await done(outer())
    is_up = False
    await colour.cache.invalidate(dep.Tag("t"))
    with pytest.raises(RuntimeError, match=TOKEN):
        await done(outer())

    assert (await colour.cache.explain(outer.key())).why == "its build failed once: RuntimeError"
    assert TOKEN not in told()


async def test_a_cached_error_is_kept_secret_by_who_called_it_too(colour: Colour, told: Callable[[], str]) -> None:
    """It comes out of the store as it was raised, and with it what is known of it."""

    @colour.cached(secret=("token",), cache_errors=(Broken,))
    async def inner(token: str) -> int:
        raise Broken(token)

    @colour.cached(depends_on=[dep.Tag("t")])
    async def outer() -> int:
        return 1 if is_up else await done(inner(TOKEN))

    is_up = True
    await done(outer())
    is_up = False
    await colour.cache.invalidate(dep.Tag("t"))
    for function, args in ((inner, (TOKEN,)), (outer, ())):
        with pytest.raises(Broken, match=TOKEN):
            await done(function(*args))

    assert (await colour.cache.explain(outer.key())).why == "its build failed once: Broken"
    assert TOKEN not in told()


async def test_an_error_of_many_ids_tells_none_of_them(colour: Colour, told: Callable[[], str]) -> None:
    """The run loads several secrets at once."""

    @colour.cached_many(secret=("tokens",))
    async def users(tokens: list[str]) -> dict[str, int]:
        raise Broken(f"refused: {tokens}")

    with pytest.raises(Broken, match=TOKEN):
        await done(users([TOKEN, OTHER]))

    assert "'error': 'Broken'" in told()
    assert "t0k3n" not in told()


async def test_a_predicate_that_raises_tells_no_secret(colour: Colour, told: Callable[[], str]) -> None:
    """`should_refresh` is given it."""

    def judge(_event: Event, token: str) -> bool:
        raise Broken(token)

    @colour.cached(secret=("token",), should_refresh=judge, topics=("inbox.*",))
    async def value(token: str) -> int:
        return 1

    await done(value(TOKEN))
    await colour.cache.publish(Event("inbox.update"))

    assert "predicate.failed" in told()
    assert "'error': 'Broken'" in told()
    assert TOKEN not in told()


async def test_a_value_that_is_judged_tells_no_secret(colour: Colour, told: Callable[[], str]) -> None:
    """`settled` sees what was made with it."""

    def judge(_event: Event, value: str) -> bool:
        raise Broken(value)

    @colour.cached(secret=("token",), depends_on=[dep.Topic("inbox.*")], settle=(timedelta(seconds=1),), settled=judge)
    async def value(token: str) -> str:
        return f"inbox of {token}"

    await done(value(TOKEN))
    await colour.cache.publish(Event("inbox.update"))
    await done(value(TOKEN))

    assert "predicate.failed" in told()
    assert TOKEN not in told()


async def test_a_refresh_in_the_background_tells_no_secret(colour: Colour, told: Callable[[], str]) -> None:
    """Nobody waits for it, so it is told of."""

    @colour.cached(secret=("token",), depends_on=[dep.Tag("t")], stale_while_revalidate=FOREVER)
    async def value(token: str) -> int:
        if not is_up:
            raise Broken(token)
        return 1

    is_up = True
    await done(value(TOKEN))
    is_up = False
    await colour.cache.invalidate(dep.Tag("t"))
    await done(value(TOKEN))
    await soon(lambda: "revalidate.failed" in told(), what="the failure")

    assert TOKEN not in told()


@dataclass(frozen=True)
class Strict:
    """A secret that is checked, by one who quotes it."""

    text: str

    def __post_init__(self) -> None:
        if not Strict.takes_all:
            raise ValueError(f"no token: {self.text}")

    takes_all: ClassVar[bool] = True


async def test_a_recipe_that_cannot_be_read_tells_no_secret(
    colour: Colour, told: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of the application has changed since; the worker says that, and not what it read."""

    @colour.cached(secret=("token",), depends_on=[dep.Tag("t")])
    async def value(token: Strict) -> int:
        return 1

    await done(value(Strict(TOKEN)))
    monkeypatch.setattr(Strict, "takes_all", False)
    async with Worker(colour.cache):
        await colour.cache.invalidate(dep.Tag("t"))
        await soon(colour.cache.failed, what="the refusal")
    (failed,) = await colour.cache.failed()

    assert "ArgumentNotSupported" in failed.reason
    assert TOKEN not in failed.reason + told()


def test_a_hash_is_equal_in_every_process() -> None:
    """Else each process would build its own; so the figure stands here."""
    assert hidden("a") == "secret-1426e7aa36224e69209ada3cae6b6e16"


def test_secrets_of_two_types_are_two(cache: Cache) -> None:
    """As they are without being hidden."""

    @cache.cached(secret=("token",))
    def value(token: str | int | None) -> int:
        return 1

    assert len({value.key(token) for token in ("1", 1, None, "None", "2")}) == 5


def test_a_secret_without_a_canonical_form_is_an_error_that_names_the_argument(cache: Cache) -> None:
    """As for any other argument."""

    @cache.cached(secret=("token",))
    def value(token: object) -> int:
        return 1

    with pytest.raises(ArgumentNotSupported, match="argument token: an argument of type object"):
        value.key(object())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"secret": ("nobody",)}, InvalidOption, "'nobody'"),
        ({"secret": "token"}, InvalidOption, "comma"),
        ({"secret": ("token",), "ignore": ("token",)}, InvalidOption, "token"),
        ({"secret": ("token",), "depends_on": [dep.Tag(dep.arg("token"))]}, InvalidDependency, "secret"),
    ],
    ids=["no parameter", "a text", "ignored", "in a dependency"],
)
def test_a_secret_that_cannot_be_is_refused(
    cache: Cache, options: dict[str, object], error: type[Exception], match: str
) -> None:
    """At the declaration, before anything was written down."""

    def value(token: str = "") -> int:
        return 1

    with pytest.raises(error, match=match):
        cache.cached(**options)(value)  # type: ignore[call-overload]  # mistakes are the test
