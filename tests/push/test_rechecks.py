"""Rights that change while streams are open."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any

import pytest

from everfresh import InvalidOption
from everfresh.asgi import Request
from everfresh.model.clock import wall_clock
from everfresh.model.entry import Entry, Key
from everfresh.push import Access, Grant, Topic, Updates, rechecks, subject_key
from tests.push.fake import FakeCache, calling

TOPICS = {name: Topic(Key(name)) for name in ("a", "b")}


class Rights:
    """Who may see what; an answer may be made to wait."""

    def __init__(self) -> None:
        self.may = {"a", "b"}
        self.subjects: tuple[str, ...] = ("user:1",)
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.holds_old = False
        self.asked = asyncio.Event()
        self.n_asked = 0
        self.fails: Callable[[], Exception] | None = None

    async def authorize(self, request: Request, names: frozenset[str]) -> Grant:
        self.n_asked += 1
        self.asked.set()
        await self.may_answer.wait()
        if self.fails is not None:
            raise self.fails()
        may = self.may
        if self.holds_old:
            # It was read before the change of which word came by meanwhile.
            self.may, self.holds_old = {"b"}, False
        return Grant(names & may, subjects=self.subjects)


@pytest.fixture
def cache() -> FakeCache:
    cache = FakeCache()
    cache.commit("a", "b")
    cache.batches.get_nowait()
    return cache


@pytest.fixture
def rights() -> Rights:
    return Rights()


@pytest.fixture
def updates(cache: FakeCache, rights: Rights) -> Updates:
    return Updates(cache, TOPICS, access=Access(authorize=rights.authorize), dice=lambda: 0.5)


async def test_what_is_taken_away_is_told_before_anything_later(
    cache: FakeCache, rights: Rights, updates: Updates
) -> None:
    """Nothing of it comes any more, and the rest goes on."""
    async with calling(updates, "topic=a&topic=b") as client:
        await client.begun()
        rights.may.discard("a")
        cache.commit("a", subject_key("user:1"), "b", value="later")
        received = [await client.next(), await client.next()]
        cache.commit("a", "b", value="last")
        received.append(await client.next())

    assert [(event.event, event.data.get("topic")) for event in received] == [
        ("revoked", None),
        ("update", "b"),
        ("update", "b"),
    ]
    assert received[0].data == {"topics": ["a"]}


async def test_a_stream_ends_when_nothing_is_left(cache: FakeCache, rights: Rights, updates: Updates) -> None:
    """The last word says why."""
    async with calling(updates, "topic=a&topic=b") as client:
        await client.begun()
        rights.may.clear()
        cache.commit(subject_key("user:1"), "a")
        received = await client.ended()

    assert [(event.event, event.data) for event in received] == [("revoked", {"topics": ["a", "b"]})]
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_nobody_else_waits_for_an_answer(cache: FakeCache, rights: Rights, updates: Updates) -> None:
    """Who is asked about is told nothing until then, and after it the newest."""
    async with calling(updates, "topic=a") as asked:
        await asked.begun()
        rights.may_answer.clear()
        rights.asked.clear()
        rights.subjects = ("user:2",)
        async with calling(updates, "topic=a") as late:
            await rights.asked.wait()
            rights.may_answer.set()
            await late.begun()
            rights.may_answer.clear()
            cache.commit(subject_key("user:1"))
            for n in range(3):
                cache.commit("a", value=n)
                assert (await late.until("update"))[-1].data["value"] == n
            assert asked.arrived() == []
            rights.may_answer.set()
            received = await asked.until("update")

    assert [(event.event, event.data["value"]) for event in received] == [("update", 2)]


async def test_who_cannot_be_asked_about_comes_back(cache: FakeCache, rights: Rights, updates: Updates) -> None:
    """Nothing is granted by a hook that fails."""
    async with calling(updates, "topic=a") as client:
        await client.begun()
        rights.fails = lambda: LookupError("the database is away")
        cache.commit(subject_key("user:1"), "a")
        received = await client.ended()

    assert [event.event for event in received] == ["bye"]


async def test_who_waits_for_a_turn_to_be_asked_about_loses_nothing(
    cache: FakeCache, rights: Rights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A question that takes too long ends one stream; those behind it are asked about as if it had not been."""
    monkeypatch.setattr(rechecks, "_N_AT_ONCE", 1)
    monkeypatch.setattr(rechecks, "_ANSWERED_IN_S", 0.05)
    updates = Updates(cache, TOPICS, access=Access(authorize=rights.authorize), dice=lambda: 0.5)
    async with calling(updates, "topic=a") as first, calling(updates, "topic=a") as second:
        await first.begun()
        await second.begun()
        rights.asked.clear()
        rights.may_answer.clear()
        cache.commit(subject_key("user:1"), "a")
        await rights.asked.wait()
        late = {asyncio.create_task(client.ended()): client for client in (first, second)}
        done, left = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        rights.may_answer.set()
        (ended,) = done
        assert [event.event for event in ended.result()] == ["bye"]
        for task in left:
            task.cancel()
            (update,) = await late[task].until("update")
            assert update.data["topic"] == "a"

    assert "recheck.late" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_change_during_the_first_question_is_not_missed(
    cache: FakeCache, rights: Rights, updates: Updates
) -> None:
    """Its record came by before the stream was there to be asked about."""
    async with calling(updates, "topic=b") as other:
        await other.begun()
        rights.may_answer.clear()
        rights.asked.clear()
        async with calling(updates, "topic=a&topic=b") as client:
            await rights.asked.wait()
            # What it will answer was decided before the change.
            rights.holds_old = True
            cache.commit("b", subject_key("user:9"))
            await other.until("update")
            rights.may_answer.set()
            received = await client.until("revoked")

    assert received[-1].data == {"topics": ["a"]}


async def test_what_is_owed_waits_for_word_that_is_on_its_way(
    cache: FakeCache, rights: Rights, updates: Updates
) -> None:
    """It was committed after the right to see it was taken away, and read before word of that had come."""
    async with calling(updates, "topic=b") as other:
        await other.begun()
        cache.commit(subject_key("user:1"), "a", value="secret")
        word = cache.batches.get_nowait()
        async with calling(updates, "topic=a&topic=b") as client:
            await cache.loaded("a")
            assert [event.event for event in client.arrived()] == ["hello"]
            rights.may.discard("a")
            cache.batches.put_nowait(word)
            received = await client.until("revoked")
            received += await client.until("update")

    assert "secret" not in str(received)


async def test_a_new_life_of_the_store_has_everybody_asked_about(
    cache: FakeCache, rights: Rights, updates: Updates
) -> None:
    """Word of a change may have been lost with the old one."""
    async with calling(updates, "topic=a&topic=b") as client:
        await client.begun()
        rights.may.discard("a")
        cache.begin_anew("a", "b", value="new")
        received = await client.until("update")

    assert [(event.event, event.data.get("topic")) for event in received] == [
        ("reset", None),
        ("revoked", None),
        ("update", "b"),
    ]


async def test_each_question_sees_the_context_of_its_own_request(cache: FakeCache) -> None:
    """A login that middleware keeps in a variable is that of who opened the stream, not of who came first."""
    user: ContextVar[str] = ContextVar("user")
    asked: list[str] = []

    def authorize(request: Request, names: frozenset[str]) -> Grant:
        asked.append(user.get())
        return Grant(names, subjects=(f"user:{user.get()}",))

    rendered: list[object] = []

    def render(entry: Entry) -> str:
        rendered.append(user.get("nobody"))
        return ""

    updates = Updates(cache, {"a": Topic(Key("a"), render)}, access=Access(authorize=authorize))
    async with AsyncExitStack() as stack:
        for name in ("admin", "ann"):
            user.set(name)
            client = await stack.enter_async_context(calling(updates, "topic=a"))
            await client.begun()
        user.set("somebody else")
        cache.commit(subject_key("user:ann"), "a")
        await client.until("update")

    assert asked == ["admin", "ann", "ann"]
    assert {*rendered} == {"nobody"}


async def test_about_one_stream_there_is_one_question_at_a_time(
    cache: FakeCache, rights: Rights, updates: Updates
) -> None:
    """However much word comes meanwhile, it is asked once more after it, and goes by the last answer."""
    async with calling(updates, "topic=a&topic=b") as client:
        await client.begun()
        rights.may_answer.clear()
        rights.asked.clear()
        cache.commit(subject_key("user:1"))
        await rights.asked.wait()
        for _ in range(10):
            cache.commit(subject_key("user:1"))
            await cache.turn()
        rights.n_asked = 0
        rights.holds_old = True
        rights.may_answer.set()
        received = await client.until("revoked")

    assert received[-1].data == {"topics": ["a"]}
    assert rights.n_asked == 1


async def test_a_question_without_an_answer_holds_up_nobody_who_left(
    cache: FakeCache, rights: Rights, updates: Updates
) -> None:
    """It is given up with its stream, and its place is free again."""
    async with calling(updates, "topic=a") as other:
        await other.begun()
        rights.may_answer.clear()
        for _ in range(3):
            rights.may_answer.set()
            async with calling(updates, "topic=a") as client:
                await client.begun()
                rights.may_answer.clear()
                cache.commit(subject_key("user:1"))
                await cache.turn()
        rights.may_answer.set()
        cache.commit("a", value="last")
        received = await other.until("update")

    assert received[-1].data["value"] == "last"


async def test_who_joins_while_a_new_life_is_read_is_told_of_it(cache: FakeCache) -> None:
    """Its versions begin anew: without word of it they would be taken for old ones."""
    updates = Updates(cache, TOPICS)
    async with calling(updates, "topic=a") as first:
        await first.begun()
        cache.may_load.clear()
        cache.begin_anew("a", value="new")
        await cache.turn()
        async with calling(updates, "topic=a&last_event_id=e1.1") as second:
            await cache.turn()
            cache.may_load.set()
            received = await second.until("update")

    assert [event.event for event in received] == ["hello", "reset", "update"]


async def test_a_poll_is_asked_about_again_when_it_was_read(cache: FakeCache, rights: Rights, updates: Updates) -> None:
    """A value committed after the right to see it was taken away is not in the answer."""
    cache.may_load.clear()
    async with calling(updates, "topic=a&topic=b&since=") as client:
        await cache.turn()
        rights.may.discard("a")
        cache.commit(subject_key("user:1"), "a", value="secret")
        cache.may_load.set()
        await client.ended()

    body = client.sent[1]["body"]
    assert b"secret" not in body
    assert b'"revoked"' in body


@pytest.mark.parametrize("query", ["topic=a&topic=b", "topic=a&topic=nothing"])
async def test_nobody_learns_which_names_there_are(
    cache: FakeCache, rights: Rights, updates: Updates, query: str
) -> None:
    """A name that stands for nothing is refused like one that may not be followed."""
    rights.may = {"a", "nothing"} if "nothing" in query else {"a"}
    async with calling(updates, query) as client:
        received = await client.until("update")

    assert [event.event for event in received] == ["hello", "revoked", "update"]


@pytest.mark.parametrize("options", [{"topics": "ab"}, {"topics": (), "subjects": "user:42"}])
def test_one_text_is_no_collection_of_texts(options: dict[str, Any]) -> None:
    """It would stand for its letters, and word of the subject would never be heard."""
    with pytest.raises(InvalidOption, match="with the comma"):
        Grant(**options)


async def test_a_grant_that_ends_ends_the_stream(cache: FakeCache) -> None:
    """The client comes back, and is asked about anew."""

    def authorize(request: Request, names: frozenset[str]) -> Grant:
        return Grant(names, expires_at=wall_clock() + 0.05)

    updates = Updates(cache, TOPICS, access=Access(authorize=authorize))
    async with calling(updates, "topic=a") as client:
        received = await client.ended()

    assert received[-1].event == "bye"
