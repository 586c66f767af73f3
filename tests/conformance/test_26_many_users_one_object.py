"""Conformance 26: each user has a copy, nobody lists users, and nobody's secret is told."""

import logging
from typing import Any

import pytest

from everfresh import Event, dep, track
from everfresh.testing.plugin import Drain
from tests.cache.making import Colour, done

SECRETS = ("s3cr3t-of-ann", "s3cr3t-of-bob")
POST_7 = Event.change("post", before={"id": 7, "text": "old"}, after={"id": 7, "text": "new"})


@pytest.fixture
def texts() -> dict[int, str]:
    """What stands in the posts."""
    return {7: "old", 8: "old"}


def declare(colour: Colour, texts: dict[int, str], on_change: str) -> Any:  # noqa: ANN401 - of either colour
    @colour.cached(on_change=on_change, secret=("token",), max_attempts=1)
    async def post(number: int, token: str) -> list[str]:
        track(dep.Id("post", number))
        if number not in texts:
            raise LookupError(f"GET /posts/{number}?token={token}: 404")
        return [texts[number], token[-3:]]

    return post


@pytest.mark.parametrize("on_change", ["refresh", "drop"])
async def test_an_update_reaches_the_copies_of_all_users(
    colour: Colour, texts: dict[int, str], drain: Drain, on_change: str
) -> None:
    """26: both are refreshed, or dropped; the copies of another post stay as they are."""
    post = declare(colour, texts, on_change)
    for number in (7, 8):
        for secret in SECRETS:
            await done(post(number, secret))
    texts.update({7: "new", 8: "not told of"})
    await colour.cache.publish(POST_7)
    peeked = [await done(post.peek(7, secret)) for secret in SECRETS]
    drained = await drain()

    refreshed = sorted(post.key(7, secret) for secret in SECRETS)
    assert sorted(drained.refreshed) == (refreshed if on_change == "refresh" else [])
    assert (peeked == [None, None]) is (on_change == "drop")
    assert [await done(post(7, secret)) for secret in SECRETS] == [["new", "ann"], ["new", "bob"]]
    assert [await done(post(8, secret)) for secret in SECRETS] == [["old", "ann"], ["old", "bob"]]


async def test_no_secret_stands_in_a_key_or_a_log(
    colour: Colour, texts: dict[int, str], drain: Drain, caplog: pytest.LogCaptureFixture
) -> None:
    """26: nor in notices, lists or explanations, also when a build fails with the secret in its error."""
    caplog.set_level(logging.DEBUG)
    told: list[object] = []
    colour.cache.listen(told.append)
    post = declare(colour, texts, "refresh")
    for secret in SECRETS:
        await done(post(7, secret))
    await colour.cache.publish(POST_7)
    await drain()
    del texts[7]
    await colour.cache.publish(POST_7)
    failed = (await drain()).failed
    keys = [post.key(7, secret) for secret in SECRETS]
    explained = [str(await colour.cache.explain(key)) for key in keys]
    listed = [*await colour.cache.entries(), *await colour.cache.failed()]

    assert len(failed) == len(set(keys)) == 2
    public = repr([keys, told, listed]) + "\n".join([*explained, caplog.text])
    assert "LookupError" in public
    assert [secret for secret in SECRETS if secret in public] == []
