"""Who may send, how often and how much; and many hooks in one application."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from everfresh import FOREVER, Event, InvalidOption, StoreUnavailable
from everfresh.sources.hooks import Hook
from everfresh.sources.http import EventsEndpoint, Hooks
from everfresh.sources.rates import Rate
from everfresh.sources.rules import WebhookRule, WebhookRules
from everfresh.sources.signatures import GitHub, StandardWebhooks
from everfresh.sources.taken import Refused
from tests.push.fake import calling
from tests.sources.posting import JSON, Published, post
from tests.sources.signing import GITHUB_SECRETS, NOW, SECRETS, github_headers, standard_headers

BODY = b'{"topic": "a"}'
BATCH = b'[{"topic": "a"}, {"topic": "b c"}, {"topic": "d"}]'


class Clock:
    """The time, which the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


async def test_only_who_has_a_key_may_send() -> None:
    """A request that nobody signed is refused before anything of it is read."""
    published = Published()
    app = EventsEndpoint(published, Hook(verifier=StandardWebhooks(*SECRETS)), clock=Clock())

    signed = await post(app, BODY, {**JSON, **standard_headers(BODY)})
    unsigned = await post(app, BODY)
    forged = await post(app, b"no JSON at all", {**JSON, **standard_headers(BODY)})

    assert [answer.status for answer in (signed, unsigned, forged)] == [202, 401, 401]
    assert unsigned.headers["www-authenticate"] == "StandardWebhooks"
    assert (unsigned.document["field"], forged.document["field"]) == ("webhook-id", "webhook-signature")
    assert published.events == [Event("a")]


async def test_a_recorded_request_is_not_accepted_later() -> None:
    """Its signature is of its time."""
    clock = Clock()
    app = EventsEndpoint(Published(), Hook(verifier=StandardWebhooks(*SECRETS)), clock=clock)
    headers = {**JSON, **standard_headers(BODY)}

    assert (await post(app, BODY, headers)).status == 202
    clock.now += 301
    refused = await post(app, BODY, headers)

    assert (refused.status, refused.document["field"]) == (401, "webhook-timestamp")


async def test_a_source_that_sends_too_often_is_told_when_to_come_back() -> None:
    """The others are not held up by it, and it may come back then."""
    clock = Clock()
    published = Published()
    app = EventsEndpoint(published, Hook(rate=Rate(per_second=0.5, burst=2)), clock=clock)

    answers = [await post(app, BODY) for _ in range(3)]
    other = await post(app, BODY, host="192.0.2.2")
    clock.now += int(answers[2].headers["retry-after"])
    later = await post(app, BODY)

    assert [answer.status for answer in (*answers, other, later)] == [202, 202, 429, 202, 202]
    assert answers[2].headers["retry-after"] == "2"
    assert answers[2].headers["content-type"] == "application/problem+json"
    assert len(published.events) == 4


async def test_a_proxy_says_who_sent_it() -> None:
    """In the header that was named; without it the proxy itself is the source."""
    app = EventsEndpoint(Published(), Hook(rate=Rate(per_second=1, burst=1, header="X-Real-IP")), clock=Clock())

    statuses = [
        (await post(app, BODY, {**JSON, **headers})).status
        for headers in ({"x-real-ip": "192.0.2.7"}, {"x-real-ip": "192.0.2.8"}, {"x-real-ip": "192.0.2.7"}, {}, {})
    ]

    assert statuses == [202, 202, 429, 202, 429]


async def test_a_server_that_knows_no_address_serves_all_as_one() -> None:
    """Behind a socket of the file system there are none."""
    app = EventsEndpoint(Published(), Hook(rate=Rate(per_second=1, burst=1)), clock=Clock())
    scope = {"method": "POST", "headers": [(b"content-type", b"application/json")], "client": None}
    statuses: list[int] = []
    for _ in range(2):
        async with calling(app, **scope) as call:
            call.inbox.put_nowait({"type": "http.request", "body": BODY})
            await call.ended()
        statuses.append(call.status)

    assert statuses == [202, 429]


async def test_a_sender_that_never_ends_is_not_waited_for() -> None:
    """It is answered, and what it sent is forgotten."""
    app = EventsEndpoint(Published(), Hook(timeout=timedelta(milliseconds=1)), max_held_bytes=10)
    for _ in range(3):
        async with calling(app, method="POST", headers=[(b"content-type", b"application/json")]) as call:
            call.inbox.put_nowait({"type": "http.request", "body": b"[" * 6, "more_body": True})
            await call.ended()

        assert call.status == 408


async def test_all_requests_together_hold_so_much() -> None:
    """Who finds no room is asked to come back; what the others hold is given back when they are answered."""
    app = EventsEndpoint(Published(), max_held_bytes=20)
    scope = {"method": "POST", "headers": [(b"content-type", b"application/json")]}
    async with calling(app, **scope) as first:
        first.inbox.put_nowait({"type": "http.request", "body": BODY, "more_body": True})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        crowded = await post(app, BODY)
        first.inbox.put_nowait({"type": "http.request"})
        await first.ended()
    later = await post(app, BODY)

    assert (crowded.status, crowded.headers["retry-after"]) == (503, "5")
    assert (first.status, later.status) == (202, 202)


async def test_a_length_that_is_too_large_is_not_waited_for() -> None:
    """Whoever says it is believed."""
    for length in ("4097", "9" * 5000):
        async with calling(
            EventsEndpoint(Published(), Hook(max_bytes=4096)),
            method="POST",
            headers=[(b"content-type", b"application/json"), (b"content-length", length.encode())],
        ) as call:
            await call.ended()

        assert call.status == 413


@pytest.mark.parametrize("length", ["x", "-1", "²", "", "1"])
async def test_a_length_that_is_wrong_is_not_believed(length: str) -> None:
    """What comes is counted."""
    assert (await post(EventsEndpoint(Published()), BODY, {**JSON, "content-length": length})).status == 202


async def test_more_events_than_are_taken_at_once_are_refused() -> None:
    """None of them is applied."""
    published = Published()

    answer = await post(EventsEndpoint(published, Hook(max_events=2)), BATCH)

    assert answer.status == 413
    assert "at most 2" in answer.document["detail"]
    assert published.n_steps == 0


async def test_failures_that_are_told_are_bounded() -> None:
    """All are counted; a request of nothing else is no reason for an answer of any size."""
    answer = await post(EventsEndpoint(Published()), b"[" + b",".join([b"{}"] * 5000) + b"]")

    assert (answer.status, answer.document["n_failed"], len(answer.document["failed"])) == (400, 5000, 100)


async def test_what_is_no_event_can_be_kept() -> None:
    """Then its sender need not send it again, and is told that it failed all the same."""
    kept: list[Refused] = []

    async def quarantine(refused: Sequence[Refused]) -> None:
        kept.extend(refused)

    published = Published()
    app = EventsEndpoint(published, Hook(quarantine=quarantine))

    some = await post(app, BATCH)
    nothing = await post(app, b"no JSON")
    wrong = await post(app, b'{"topic": 7}')

    assert [answer.status for answer in (some, nothing, wrong)] == [202, 202, 202]
    assert [event.topic for event in published.events] == ["a", "d"]
    assert [refused.item for refused in kept] == [{"topic": "b c"}, b"no JSON", b'{"topic": 7}']
    assert some.document["failed"][0]["index"] == 1
    assert (some.document["n_applied"], some.document["n_failed"]) == (2, 1)


@pytest.mark.parametrize("error", [StoreUnavailable("store: away."), OSError("disk"), KeyError("bug")])
async def test_what_could_not_be_kept_is_not_accepted(error: Exception) -> None:
    """All of it comes again, whatever the quarantine is made of."""

    async def quarantine(refused: Sequence[Refused]) -> None:
        raise error

    answer = await post(EventsEndpoint(Published(), Hook(quarantine=quarantine)), BATCH)

    assert answer.status == 503


def hooks_of(published: Published) -> Hooks:
    github = WebhookRules(
        WebhookRule(None, when={"headers.x-github-event": "ping"}),
        WebhookRule("github.{headers.x-github-event}.{body.action|none}"),
    )
    return Hooks(
        published,
        {"/events": Hook(), "/github": Hook(reader=github, verifier=GitHub(*GITHUB_SECRETS), rate=Rate())},
        clock=Clock(),
    )


async def test_each_path_has_its_hook() -> None:
    """With its own rules and keys."""
    published = Published()
    app = hooks_of(published)
    body = b'{"action": "opened"}'
    headers = {**JSON, "x-github-event": "issues"}

    assert (await post(app, BODY, path="/events")).status == 202
    assert (await post(app, body, {**headers, **github_headers(body)}, path="/github")).status == 202
    assert (await post(app, body, headers, path="/github")).status == 401
    assert (await post(app, BODY, path="/other")).status == 404
    ping = await post(app, body, {**JSON, "x-github-event": "ping", **github_headers(body)}, path="/github")
    assert (ping.status, ping.document["n_passed_over"]) == (202, 1)
    assert [event.topic for event in published.events] == ["a", "github.issues.opened"]


async def test_hooks_may_be_mounted() -> None:
    """Their paths are below that of the mount, and so it is described."""
    published = Published()
    app = Starlette(routes=[Mount("/hooks", hooks_of(published))])

    answer = await post(app, BODY, path="/hooks/events")
    described = await post(app, b"", method="GET", path="/hooks/openapi.json")

    assert answer.status == 202
    assert described.document["servers"] == [{"url": "/hooks"}]
    assert "/events" in described.document["paths"]


async def test_hooks_live_with_a_server_that_runs_nothing_else() -> None:
    """And refuse what they do not speak."""
    app = hooks_of(Published())
    async with calling(app, type="lifespan") as server, calling(app, type="websocket") as socket:
        server.inbox.put_nowait({"type": "lifespan.startup"})
        server.inbox.put_nowait({"type": "lifespan.shutdown"})
        await server.ended()
        await socket.ended()

    assert [message["type"] for message in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert socket.sent == [{"type": "websocket.close"}]


async def test_a_sender_may_take_for_ever_if_it_is_let() -> None:
    """Not every event loop can wait for infinity."""
    assert (await post(EventsEndpoint(Published(), Hook(timeout=FOREVER)), BODY)).status == 202


@pytest.mark.parametrize("field", ["op", "specversion"])
async def test_a_refusal_does_not_say_all_that_was_sent(field: str) -> None:
    """An answer is short, whatever it is about."""
    body = json.dumps({"specversion": "1.0", "source": {}, field: "x" * 100_000}).encode()
    media = "application/json" if field == "op" else "application/cloudevents+json"

    answer = await post(EventsEndpoint(Published()), body, {"content-type": media})

    assert answer.status == 400
    assert len(answer.body) < 1_000


async def test_it_says_what_it_takes() -> None:
    """All hooks of an application in one document, or one beside its path."""
    whole = await post(hooks_of(Published()), b"", method="GET", path="/openapi.json")
    one = await post(EventsEndpoint(Published()), b"", method="GET", path="/a/events/openapi.json")
    root = await post(EventsEndpoint(Published()), b"", method="GET", path="/openapi.json")
    wrong = await post(EventsEndpoint(Published()), BODY, path="/openapi.json")

    assert (whole.status, whole.headers["content-type"]) == (200, "application/json")
    assert whole.document["openapi"].startswith("3.1")
    assert list(whole.document["paths"]) == ["/events", "/github"]
    assert whole.document["paths"]["/github"]["post"]["security"]
    assert "429" in whole.document["paths"]["/github"]["post"]["responses"]
    assert "429" not in whole.document["paths"]["/events"]["post"]["responses"]
    assert (list(one.document["paths"]), list(root.document["paths"])) == (["/a/events"], ["/"])
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET")


def test_the_description_holds_no_secret() -> None:
    """Whoever reaches it may read it."""
    described = json.dumps(hooks_of(Published())._document)  # noqa: SLF001 - as it is sent

    assert not any(secret in described for secret in GITHUB_SECRETS)


@pytest.mark.parametrize(
    "arguments",
    [{"max_bytes": 0}, {"max_bytes": -1}, {"max_events": 0}, {"timeout": timedelta(0)}, {"timeout": 30}],
)
def test_a_bound_leaves_room_for_something(arguments: dict[str, Any]) -> None:
    """Otherwise nothing would ever be accepted."""
    with pytest.raises(InvalidOption, match=next(iter(arguments))):
        Hook(**arguments)


@pytest.mark.parametrize(
    ("hooks", "more"), [({}, {}), ({"events": Hook()}, {}), ({"/events": Hook()}, {"max_held_bytes": 0})]
)
def test_an_application_has_hooks_and_room(hooks: dict[str, Hook], more: dict[str, Any]) -> None:
    """Otherwise nothing would ever be accepted."""
    with pytest.raises(InvalidOption):
        Hooks(Published(), hooks, **more)
