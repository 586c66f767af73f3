"""The same events in one answer, for clients to whom no stream comes through."""

import json
from collections.abc import Collection
from typing import Any

import msgspec
import pytest

from everfresh.asgi import Request
from everfresh.model.entry import Entry, Key
from everfresh.model.position import Position
from everfresh.push import Access, Grant, Limits, Updates
from everfresh.push.frames import Part
from everfresh.push.polling import Polled, Recent, polled
from everfresh.push.topics import Cursor, Topic, Unknown
from tests.push.fake import FakeCache, calling
from tests.push.making import at, entry

TOPICS = {name: Topic(Key(name)) for name in ("a", "b", "c")}


def nobody() -> None:
    """No stream is open."""


async def answer_of(cache: FakeCache, cursor: Cursor) -> tuple[Polled, list[tuple[str, object]]]:
    answer = await polled(cache, TOPICS, cursor, showcase=Recent(nobody), retry_ms=5_000)
    data = [(told.event, msgspec.json.decode(told.data)) for told in answer.events]
    return answer, [(event, told.get("topic")) for event, told in data]


async def test_who_comes_first_gets_all_that_there_is() -> None:
    """In the order in which it changed; what is not there last, and said to be so."""
    cache = FakeCache()
    cache.commit("b", "a")

    answer, told = await answer_of(cache, None)

    assert told == [("update", "b"), ("update", "a"), ("stale", "c")]
    assert answer.cursor == "e1.2"


async def test_who_comes_back_gets_what_is_newer_and_the_state_of_the_rest() -> None:
    """An entry does not say when it last became stale without a new value."""
    cache = FakeCache()
    cache.commit("a", "b")
    first, _ = await answer_of(cache, None)
    cache.commit("b")

    answer, told = await answer_of(cache, Position.parse(first.cursor))

    assert told == [("update", "b"), ("fresh", "a"), ("stale", "c")]
    assert answer.cursor == "e1.3"


async def test_a_cursor_of_another_life_starts_over() -> None:
    """Nothing that it has seen counts."""
    cache = FakeCache()
    cache.commit("a")
    for cursor in (Position("other", 1), Position("e1", 99), Unknown()):
        _, told = await answer_of(cache, cursor)

        assert told == [("reset", None), ("update", "a"), ("stale", "b"), ("stale", "c")]


async def test_a_change_during_the_answer_is_seen_now_or_next_time() -> None:
    """The cursor is read before the entries, so nothing falls in between."""
    cache = FakeCache()
    cache.commit("a", value="old")
    stored = cache.stored

    async def late(key: str) -> object:
        cache.stored = stored
        entry = await stored(key)
        cache.commit("a", value="new")
        return entry

    cache.stored = late  # type: ignore[method-assign,assignment]
    first, _ = await answer_of(cache, None)
    answer, told = await answer_of(cache, Position.parse(first.cursor))

    assert told[0] == ("update", "a")
    assert b'"new"' in bytes(answer.events[0].data)


async def asked(updates: Updates, query: str = "topic=a&since=") -> tuple[int, dict[str, str], Any]:
    """The answer to one poll."""
    async with calling(updates, query) as call:
        await call.ended()
    headers = {name.decode(): value.decode() for name, value in call.sent[0]["headers"]}
    return call.status, headers, json.loads(call.sent[1]["body"])


async def test_who_has_no_stream_left_polls() -> None:
    """That is what those are told to whom no more streams are given."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS, limits=Limits(per_address=1))
    async with calling(updates, "topic=a") as stream:
        await stream.begun()
        refused, headers, problem = await asked(updates, "topic=a")
        status, _, answer = await asked(updates)

    assert (refused, headers["retry-after"]) == (429, "5")
    assert "poll" in problem["detail"]
    assert status == 200
    assert answer["events"][0]["data"]["topic"] == "a"


async def test_who_polls_without_a_pause_is_told_to_wait() -> None:
    """Before anybody is asked what may be followed, and before anything is read."""
    cache = FakeCache()
    n_asked: list[Request] = []

    def authorize(request: Request, names: frozenset[str]) -> Collection[str]:
        n_asked.append(request)
        return names

    updates = Updates(cache, TOPICS, access=Access(authorize=authorize), limits=Limits(per_address=1))
    statuses = [(await asked(updates))[0] for _ in range(110)]
    n_before, cache.n_loads = len(n_asked), 0
    status, headers, _ = await asked(updates)

    assert statuses == [200] * 101 + [429] * 9
    assert status == 429
    assert 0 < int(headers["retry-after"]) <= 4
    assert (len(n_asked), cache.n_loads) == (n_before, 0)


async def test_a_user_polls_so_often_wherever_that_is() -> None:
    """Addresses are many."""
    cache = FakeCache()
    access = Access(authorize=lambda _, names: Grant(names, user="ann"))
    updates = Updates(cache, TOPICS, access=access, limits=Limits(per_user=1))

    statuses = [(await asked(updates))[0] for _ in range(102)]

    assert statuses == [200] * 101 + [429]


async def test_however_many_poll_a_value_is_rendered_once() -> None:
    """Until there is another."""
    cache = FakeCache()
    cache.commit("a")
    rendered: list[int] = []

    def render(one: Entry) -> str:
        rendered.append(one.version)
        return str(one.version)

    updates = Updates(cache, {"a": Topic(Key("a"), render)})
    answers = [await asked(updates) for _ in range(3)]
    cache.commit("a")
    answers += [await asked(updates) for _ in range(3)]

    assert [answer["events"][0]["data"]["html"] for _, _, answer in answers] == ["1"] * 3 + ["2"] * 3
    assert rendered == [1, 2]


async def test_who_polls_is_shown_what_streams_were_shown() -> None:
    """It is rendered for all of them once."""
    cache = FakeCache()
    rendered: list[int] = []

    def render(one: Entry) -> str:
        rendered.append(one.version)
        return str(one.version)

    updates = Updates(cache, {"a": Topic(Key("a"), render)})
    async with calling(updates, "topic=a") as stream:
        await stream.begun()
        cache.commit("a")
        await stream.until("update")
        _, _, answer = await asked(updates)

    assert answer["events"][0]["data"]["html"] == "1"
    assert rendered == [1]


def test_of_what_was_rendered_so_many_bytes_are_kept() -> None:
    """Who polls for it says nobody that this was the last time. What was asked for longest ago is rendered anew."""
    shown = {name: (name, Topic(Key(name))) for name in "abc"}
    entries = {name: entry(name, value=name * 1_000) for name in shown}
    recent = Recent(nobody, most_bytes=8_000)

    def frame(name: str) -> object:
        return recent.frame(shown[name], entries[name], Part.VALUE, at=at(1))

    first = {name: frame(name) for name in "ab"}
    assert frame("a") is first["a"]
    frame("c")

    assert frame("a") is first["a"]
    assert len(recent) == 2
    assert frame("b") is not first["b"]
    assert len(recent) == 2


def test_what_is_larger_than_all_that_is_kept_is_not_kept() -> None:
    """It is shown all the same."""
    recent = Recent(nobody, most_bytes=1_000)

    shown = recent.frame(("a", Topic(Key("a"))), entry("a", value="a" * 1_000), Part.VALUE, at=at(1))

    assert shown.topic == "a"
    assert len(recent) == 0


@pytest.mark.parametrize("n_other", [1, 1_000], ids=["once", "always"])
async def test_rights_that_change_during_an_answer_are_asked_for_again(n_other: int) -> None:
    """What was read is told only to who may still see it; and there is an end to asking."""
    cache = FakeCache()
    cache.commit("a", "b")
    grants = [Grant([name], subjects=["user:1"]) for name in ["a", "b"] * n_other]

    def authorize(_: Request, __: frozenset[str]) -> Grant:
        return grants.pop(0) if len(grants) > 1 else grants[0]

    updates = Updates(cache, TOPICS, access=Access(authorize=authorize))

    status, headers, answer = await asked(updates, "topic=a&topic=b&since=")

    if n_other == 1:
        assert [event["data"].get("topic") for event in answer["events"]] == [None, "b"]
    else:
        assert (status, headers["retry-after"]) == (503, "5")
