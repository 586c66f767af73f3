"""Arguments that are secrets: they tell calls apart and stand nowhere that people look. Conformance 26."""

import logging

import pytest

from everfresh import ArgumentNotSupported, Cache, Event, InvalidDependency, InvalidOption, dep
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


async def test_a_secret_in_the_text_of_an_error_is_struck_out(colour: Colour) -> None:
    """Clients write the address they asked into their errors, and the error goes to logs and to `explain`."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(repr(notice)))

    is_up = True

    @colour.cached(depends_on=[dep.Tag("t")], secret=("token",), max_attempts=1)
    async def value(token: str) -> int:
        if not is_up:
            raise Broken(f"GET /inbox?token={token}: 503")
        return 1

    await done(value(TOKEN))
    is_up = False
    await colour.cache.invalidate(dep.Tag("t"))
    with pytest.raises(Broken):
        await done(value(TOKEN))
    (failed,) = await colour.cache.failed()

    assert failed.reason == "Broken: GET /inbox?token=***: 503"
    assert TOKEN not in "\n".join([failed.reason, *told])


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
