"""Whatever is sent, the answer is one that is promised, nothing stays held, and nobody without a key is heard."""

import asyncio
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfresh.sources.debezium import UNAVAILABLE
from everfresh.sources.hooks import Hook
from everfresh.sources.http import EventsEndpoint
from everfresh.sources.rules import WebhookRule, WebhookRules
from everfresh.sources.signatures import GitHub, SharedSecret, StandardWebhooks, Verifier
from tests.sources.posting import Answer, Published, post
from tests.sources.signing import GITHUB_SECRETS, NOW, SECRETS, github_headers, standard_headers

STATUSES = {202, 400, 401, 413, 415}
MEDIA = (
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
    "application/vnd.x+json",
)
NAMES = ("topic", "body", "id", "headers", "specversion", "source", "type", "data", "data_base64")
OF_DEBEZIUM = ("op", "before", "after", "payload", "schema", "ts_ms", "table", "connector", "iodebeziumop")
WORDS = ("a.b", "1.0", "c", "u", "d", "r", "t", "m", "mysql", "io.debezium.x", UNAVAILABLE, "", "e30=")
LATIN = st.text(st.characters(max_codepoint=255), max_size=30)
JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES + OF_DEBEZIUM) | st.text(max_size=5), inner, max_size=8)
    ),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from(NAMES + OF_DEBEZIUM), JSON_VALUE, max_size=9)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "content-length",
            "content-encoding",
            "ce-id",
            "ce-type",
            "ce-source",
            "ce-specversion",
            "ce-iodebeziumop",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "x-hub-signature-256",
            "x-api-key",
        ]
    ),
    LATIN | st.sampled_from([*WORDS, *MEDIA, str(int(NOW)), "v1,", "sha256=", "gzip"]),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON of one thing or many, in an array or in lines, now and then with some octets of it changed."""
    documents = draw(st.lists(OBJECT | JSON_VALUE, max_size=4))
    text = draw(st.sampled_from(["one", "array", "lines", "octets"]))
    if text == "octets":
        return draw(st.binary(max_size=100))
    if text == "one":
        whole = json.dumps(documents[0] if documents else {}).encode()
    elif text == "array":
        whole = json.dumps(documents).encode()
    else:
        whole = b"\n".join(json.dumps(document).encode() for document in documents)
    if whole and draw(st.booleans()):
        place = draw(st.integers(0, len(whole) - 1))
        whole = whole[:place] + draw(st.binary(max_size=3)) + whole[place + draw(st.integers(0, 3)) :]
    return whole


REQUESTS = {"headers": st.tuples(st.sampled_from(MEDIA), HEADERS), "body": bodies()}


def answered(hook: Hook, headers: tuple[str, dict[str, str]], body: bytes) -> tuple[Answer, Published, int]:
    """The answer to a request, what was published, and how many bytes are still held."""
    published = Published()
    app = EventsEndpoint(published, hook, clock=lambda: NOW)
    media, others = headers
    answer = asyncio.run(post(app, [body[:7], body[7:]], {"content-type": media, **others}))
    return answer, published, app._intake._room.n_bytes  # noqa: SLF001 - nobody else can know


@pytest.mark.searching
@settings(max_examples=400)
@given(**REQUESTS)
def test_whatever_is_sent_is_answered(headers: tuple[str, dict[str, str]], body: bytes) -> None:
    """202 for what was published, else a problem that says what is wrong; and all that it held is given back."""
    answer, published, n_held = answered(Hook(max_events=3, max_bytes=400), headers, body)

    assert answer.status in STATUSES - {401}
    assert n_held == 0
    document: dict[str, Any] = answer.document
    if answer.status == 202:
        assert document.get("n_applied", 0) == len(published.events)
    else:
        assert document["status"] == answer.status
        assert document["detail"]
        assert published.events == [] or document["n_applied"] == len(published.events)


@pytest.mark.searching
@settings(max_examples=200)
@given(**REQUESTS)
def test_whatever_is_sent_to_rules_is_answered(headers: tuple[str, dict[str, str]], body: bytes) -> None:
    """As above."""
    rules = WebhookRules(
        WebhookRule("a.{body.topic}.{headers.ce-id|none}", when={"body.op": "c"}, id="body.id", body="body.body"),
        WebhookRule("b.{body.id}"),
    )

    answer, published, n_held = answered(Hook(reader=rules, max_events=3, max_bytes=400), headers, body)

    assert answer.status in STATUSES - {401}
    assert n_held == 0
    assert all(event.topic.split(".")[0] in {"a", "b"} for event in published.events)


VERIFIERS = {
    "standard": StandardWebhooks(*SECRETS),
    "github": GitHub(*GITHUB_SECRETS),
    "shared": SharedSecret("x-api-key", *GITHUB_SECRETS),
}


@pytest.mark.searching
@pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS)
@settings(max_examples=150)
@given(**REQUESTS)
def test_nobody_without_a_key_is_heard(verifier: Verifier, headers: tuple[str, dict[str, str]], body: bytes) -> None:
    """Whatever else is in the request; and only its size is looked at before that."""
    answer, published, n_held = answered(Hook(verifier=verifier, max_bytes=400), headers, body)

    assert answer.status in {401, 413}
    assert published.events == []
    assert n_held == 0


@pytest.mark.searching
@settings(max_examples=200)
@given(st.integers(0, 200), st.integers(1, 255), st.sampled_from(["body", "id", "timestamp", "signature"]))
def test_one_changed_bit_is_a_forgery(place: int, change: int, part: str) -> None:
    """Of the body, and of each header that is signed or signs."""
    body = json.dumps({"topic": "a", "body": {"x": "y" * 40}}).encode()
    headers = standard_headers(body)
    assert answered(Hook(verifier=VERIFIERS["standard"]), ("application/json", headers), body)[0].status == 202
    if part == "body":
        place %= len(body)
        body = body[:place] + bytes([body[place] ^ change]) + body[place + 1 :]
    else:
        text = headers[f"webhook-{part}"].encode("latin-1")
        place %= len(text)
        headers[f"webhook-{part}"] = (text[:place] + bytes([text[place] ^ change]) + text[place + 1 :]).decode(
            "latin-1"
        )

    answer, published, _ = answered(Hook(verifier=VERIFIERS["standard"]), ("application/json", headers), body)

    assert answer.status == 401
    assert published.events == []


@given(st.integers(0, 70), st.integers(1, 255))
def test_one_changed_bit_is_a_forgery_of_github(place: int, change: int) -> None:
    """As above."""
    body = b'{"topic": "a"}'
    signature = github_headers(body)["x-hub-signature-256"].encode()
    changed = bytes([signature[place] ^ change])
    headers = {"x-hub-signature-256": (signature[:place] + changed + signature[place + 1 :]).decode("latin-1")}

    assert answered(Hook(verifier=VERIFIERS["github"]), ("application/json", headers), body)[0].status == 401


MIB = 1_048_576
LARGE = {
    "arrays": b"[" + b"[]," * (MIB // 3 - 2) + b"[]]",
    "objects": b"[" + b"{}," * (MIB // 3 - 2) + b"{}]",
    "events": b"[" + b",".join([b'{"topic":"a","x":[%s]}' % b",".join([b"1"] * 30)] * 9_999) + b"]",
    "failures": b"[" + b",".join([b'{"topic":"a b"}'] * 9_999) + b"]",
    "depth": b"[" * (MIB - 1),
    "members": b'{"topic":"a","body":{'
    + b",".join(b'"%d":0' % number for number in range(100_000))[: MIB - 50]
    + b"}}",
    "digits": b'{"topic":"a","body":{"x":' + b"9" * (MIB - 40) + b"}}",
    "escapes": b'{"topic":"a","body":{"x":"' + rb"\u00e9" * (MIB // 6 - 10) + b'"}}',
    "lines": b"\n" * MIB,
    "lists": b'{"topic":"a","body":{"x":[' + b"{}," * (MIB // 3 - 20) + b"{}]}}",
}


@pytest.mark.searching
@pytest.mark.parametrize("body", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("media", ["application/json", "application/x-ndjson"])
def test_a_large_body_costs_some_times_its_size(media: str, body: bytes) -> None:
    """However it is made up, and nothing of it stays."""
    published = Published()
    app = EventsEndpoint(published)
    small = asyncio.run(post(app, b'{"topic": "a"}', {"content-type": media}))
    tracemalloc.start()
    try:
        answer = asyncio.run(post(app, body, {"content-type": media}))
        published.events.clear()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert small.status == 202
    assert answer.status in STATUSES
    assert peak < 64 * MIB
    assert kept < MIB
