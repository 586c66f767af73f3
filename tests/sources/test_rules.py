import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh import Cache, Event, InvalidOption, dep
from everfresh.sources.messages import Malformed
from everfresh.sources.rules import WebhookRule, WebhookRules
from everfresh.sources.taken import MediaNotSupported, Taken, TooManyEvents

GITHUB = WebhookRule(
    "github.{headers.x-github-event}.{body.action|none}",
    id="headers.x-github-delivery",
    headers=("X-GitHub-Event",),
)
HEADERS = {"content-type": "application/json", "x-github-event": "issues", "x-github-delivery": "72d3162e"}
ISSUE = {"action": "opened", "issue": {"number": 7, "labels": ["a", "b"]}, "repository": {"full_name": "org/repo.js"}}


def read(document: object, *rules: WebhookRule, headers: dict[str, str] = HEADERS, n_max: int = 100) -> Taken:
    return WebhookRules(*(rules or (GITHUB,))).read(headers, json.dumps(document).encode(), n_max=n_max)


def topic(rule: str, document: object = ISSUE) -> str:
    return read(document, WebhookRule(rule)).events[0].topic


def test_a_rule_makes_an_event_of_headers_and_body() -> None:
    """The body is kept whole, an id and headers if they are named."""
    taken = read(ISSUE)

    headers = {"x-github-event": "issues"}
    assert taken.events == [Event("github.issues.opened", ISSUE, id="72d3162e", headers=headers)]


async def test_a_webhook_touches_what_depends_on_its_fields() -> None:
    """As any other event does."""
    async with Cache("memory:") as cache:
        await cache.put("7", 1, dep.Topic("github.issues.*", where={"issue.number": 7}))
        await cache.put("8", 1, dep.Topic("github.issues.*", where={"issue.number": 8}))

        await cache.publish(*read(ISSUE).events)

        assert not await cache.has("7")
        assert await cache.has("8")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("github.{body.action}", "github.opened"),
        ("github.{body.issue.number}", "github.7"),
        ("github.{body.repository.full_name}", "github.org/repo%2Ejs"),
        ("github.{body.sender.login|nobody}", "github.nobody"),
        ("github.{headers.X-GitHub-Event}", "github.issues"),
        ("github.x{body.action}y", "github.xopenedy"),
        ("github", "github"),
    ],
)
def test_a_topic_is_filled_from_fields(rule: str, expected: str) -> None:
    """With a word that stands in for what is missing, if the rule has one."""
    assert topic(rule) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.b", "a%2Eb"),
        ("*", "%2A"),
        ("#", "%23"),
        ("a b", "a%20b"),
        ("%2E", "%252E"),
        ("é", "é"),
        ("\u202e", "%E2%80%AE"),
        ("\n", "%0A"),
        (True, "true"),
        (0, "0"),
        (-7, "-7"),
    ],
)
def test_a_value_is_one_word_whatever_it_says(value: object, expected: str) -> None:
    """It makes no further word, no wildcard, and no topic of somebody else."""
    assert topic("a.{body.x}.b", {"x": value}) == f"a.{expected}.b"


@pytest.mark.parametrize(
    ("document", "at"),
    [
        ({}, "body.x"),
        ({"x": None}, "body.x"),
        ({"x": ""}, "body.x"),
        ({"x": 1.5}, "body.x"),
        ({"x": {}}, "body.x"),
        ({"x": ["a"]}, "body.x"),
        ({"x": "a" * 256}, "body.x"),
        (7, "body"),
        (None, "body"),
    ],
)
def test_a_field_that_the_topic_lacks_is_named(document: object, at: str) -> None:
    """Its sender, or who wrote the rule, can then mend it."""
    with pytest.raises(Malformed) as caught:
        topic("a.{body.x}", document)

    assert caught.value.at == at


def test_a_missing_header_is_named() -> None:
    """As a field is."""
    with pytest.raises(Malformed) as caught:
        read(ISSUE, headers={"content-type": "application/json"})

    assert caught.value.at == "headers.x-github-event"


def test_the_first_rule_that_is_for_a_webhook_makes_its_event() -> None:
    """One without a topic passes it over; one that no rule is for is refused, so that nothing is lost in silence."""
    rules = (
        WebhookRule(None, when={"headers.x-github-event": "ping"}),
        WebhookRule("pushed", when={"headers.x-github-event": ("push", "create"), "body.deleted": "false"}),
        WebhookRule("issue.{body.action}", when={"headers.x-github-event": "issues"}),
    )

    def of(event: str, document: dict[str, Any]) -> Taken:
        return read(document, *rules, headers={**HEADERS, "x-github-event": event})

    assert [event.topic for event in of("push", {"deleted": False}).events] == ["pushed"]
    assert [event.topic for event in of("create", {"deleted": False}).events] == ["pushed"]
    assert [event.topic for event in of("issues", {"action": "opened"}).events] == ["issue.opened"]
    assert (of("ping", {}).events, of("ping", {}).n_passed_over) == ([], 1)
    with pytest.raises(Malformed, match=r"no rule is for this .*: |look at body\.deleted, headers"):
        of("push", {"deleted": True})


def test_a_part_of_the_body_can_be_the_event() -> None:
    """Where a service wraps what matters."""
    rule = WebhookRule("a", body="body.data.object", id="body.id")

    taken = read({"id": 7, "data": {"object": {"x": 1}}}, rule)

    assert taken.events == [Event("a", {"x": 1}, id="7")]
    with pytest.raises(Malformed) as caught:
        read({"data": {}}, rule)
    assert caught.value.at == "body.data.object"


def test_a_key_may_hold_dots() -> None:
    """As it may in a dependency."""
    assert topic("a.{body.x.y.z}", {"x": {"y.z": "b"}}) == "a.b"


def test_an_array_is_a_batch() -> None:
    """Some services send one; what is wrong in it takes no event with it."""
    taken = read([{"x": "a"}, {}, 7, {"x": "b"}], WebhookRule("t.{body.x}"))

    assert [event.topic for event in taken.events] == ["t.a", "t.b"]
    assert [refused.error.at for refused in taken.refused] == ["[1].body.x", "[2].body"]
    with pytest.raises(TooManyEvents):
        read([{}, {}], n_max=1)


@pytest.mark.parametrize("media", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_only_json_is_read(media: str) -> None:
    """Services that send forms have a choice of JSON."""
    with pytest.raises(MediaNotSupported, match="application/json"):
        read(ISSUE, headers={"content-type": media})


@pytest.mark.parametrize("media", ["application/json", "application/vnd.github+json; charset=utf-8"])
def test_json_has_many_names(media: str) -> None:
    """All of them are read."""
    assert read(ISSUE, headers={**HEADERS, "content-type": media}).events


@pytest.mark.parametrize(
    "arguments",
    [
        {"topic": "a.{x}"},
        {"topic": "a.{body.x"},
        {"topic": "a.}"},
        {"topic": "a.{body.}"},
        {"topic": "a.{body.x|}"},
        {"topic": "a.{body.x|b.c}"},
        {"topic": "a.{body.x|*}"},
        {"topic": "a", "when": {"x": "y"}},
        {"topic": "a", "id": "x"},
        {"topic": "a", "body": "headers.x"},
        {"topic": "a", "headers": "x"},
    ],
)
def test_a_rule_that_cannot_hold_is_refused(arguments: dict[str, Any]) -> None:
    """When it is written, and not when the first webhook comes."""
    with pytest.raises(InvalidOption):
        WebhookRule(**arguments)


def test_no_rule_takes_nothing() -> None:
    """So there must be one."""
    with pytest.raises(InvalidOption, match="no rule"):
        WebhookRules()


WORD = st.text(max_size=60)


@given(WORD, WORD)
def test_what_a_sender_says_stays_in_its_place(one: str, other: str) -> None:
    """Two different pairs never make one topic, and none has more words than the rule."""
    if not one or not other:
        return
    rule = WebhookRules(WebhookRule("a.{body.x}.{body.y}"))
    body = json.dumps({"x": one, "y": other}).encode()
    try:
        taken = rule.read(HEADERS, body, n_max=1)
    except Malformed as error:
        assert error.at in {"", "body.y"}  # noqa: PT017 - no JSON, or longer than a topic may be
        return

    words = taken.events[0].topic.split(".")

    assert len(words) == 3
    assert words[0] == "a"
    assert [bytes_of(word) for word in words[1:]] == [one.encode(), other.encode()]


def bytes_of(word: str) -> bytes:
    """The octets that were encoded, by the other direction."""
    parts = word.split("%")
    return parts[0].encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in parts[1:])


@pytest.mark.searching
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_whatever_is_sent_is_an_event_or_malformed(document: object) -> None:
    """No sender can cause another error."""
    try:
        read(document, WebhookRule("a.{body.x}.{headers.y|none}", when={"body.z": "1"}), WebhookRule("b.{body.x}"))
    except Malformed:
        return
