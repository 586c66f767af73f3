"""What is no event is kept, known again, and tried again."""

import json
import sys

import msgspec
import pytest

from everfresh import Cache, StoreUnavailable, dep
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Unreadable
from everfresh.sources.formats import Auto, CloudEvents
from everfresh.sources.hooks import Hook
from everfresh.sources.http import EventsEndpoint
from everfresh.sources.quarantine import kept_in, retry, unreadable
from tests.sources.posting import JSON, post

BAD = Message(topic="a", body=b"{", headers={"b": "c"}, id="7")


def test_a_message_that_comes_again_is_known_again() -> None:
    """Whatever was wrong with it, and in whichever order its headers come."""
    one = unreadable("queue", "plain", "this", Message(topic="a", body=b"{", headers={"b": "c", "d": "e"}))
    again = unreadable("queue", "auto", "that", Message(topic="a", body=b"{", headers={"d": "e", "b": "c"}))

    assert one.id == again.id


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(BAD, topic="b"),
        msgspec.structs.replace(BAD, body=b"["),
        msgspec.structs.replace(BAD, headers={"b": "d"}),
        msgspec.structs.replace(BAD, headers={"bc": ""}),
        msgspec.structs.replace(BAD, headers={}),
        msgspec.structs.replace(BAD, id="8"),
        msgspec.structs.replace(BAD, topic="a7", id=""),
    ],
)
def test_different_messages_are_told_apart(other: Message) -> None:
    """By all that they say, without delimiters that could alias."""
    assert unreadable("queue", "plain", "", BAD).id != unreadable("queue", "plain", "", other).id
    assert unreadable("queue", "plain", "", BAD).id != unreadable("other", "plain", "", BAD).id


def kept(body: object, format_name: str = "auto", **more: str) -> Unreadable:
    """A message in quarantine."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return unreadable("queue", format_name, "at first", Message(topic="a.b", body=raw, headers=more))


async def test_what_can_be_read_by_now_is_applied_and_released() -> None:
    """What is still no event stays, and why is told."""
    async with Cache() as cache:
        n_built = 0

        @cache.cached(depends_on=[dep.Topic("a.b")])
        async def built() -> int:
            nonlocal n_built
            n_built += 1
            return n_built

        await built()
        good, bad, gone = kept({"id": 1}), kept(b"{"), kept({}, "no.such:format")
        await cache.sources.quarantine([good, bad, gone])

        retried = await retry(cache, await cache.sources.quarantined())

        assert (retried.n_messages, retried.n_events, await built()) == (1, 1, 2)
        assert [(one.id, one.reason[:12]) for one in retried.unreadable] == [
            (bad.id, "this is not "),
            (gone.id, "format: 'no."),
        ]
        assert [one.id for one in await cache.sources.quarantined()] == [bad.id, gone.id]


async def test_another_format_may_be_given() -> None:
    """When the first was the mistake."""
    async with Cache() as cache:
        one = kept({"specversion": "1.0", "id": "7", "source": "/", "type": "a.b"}, "fedora")
        await cache.sources.quarantine([one])

        assert (await retry(cache, [one], format=CloudEvents())).n_messages == 1
        assert await cache.sources.quarantined() == ()


async def test_of_a_batch_the_events_are_applied_again() -> None:
    """And the message stays until all of it can be read."""
    async with Cache() as cache:
        one = kept([{"id": 1}, 7])
        await cache.sources.quarantine([one])
        before = await cache.position()

        retried = await retry(cache, [one])

        assert [again.reason for again in retried.unreadable] == [
            "[1].body: the body must be a JSON object, not a number"
        ]
        assert await cache.position() != before
        assert len(await cache.sources.quarantined()) == 1


async def test_without_the_store_all_stay() -> None:
    """Trying again is safe."""
    async with Cache() as cache:
        one = kept({})
        await cache.sources.quarantine([one])

        async def away(*_: object) -> None:
            raise StoreUnavailable("away")

        cache.sources.apply = away  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreUnavailable):
            await retry(cache, [one])
        assert len(await cache.sources.quarantined()) == 1


async def test_what_is_sent_by_http_and_is_no_event_is_kept_in_the_store() -> None:
    """Each item on its own; what says how a body is to be read is kept with it, and nothing that is secret."""
    async with Cache() as cache:
        app = EventsEndpoint(cache, Hook(quarantine=kept_in(cache, source="shop")))
        binary = {"content-type": "application/json", "ce-id": "7", "ce-type": "a.b", "authorization": "Bearer x"}

        answers = [
            await post(app, b'[{"topic": "a"}, {"topic": "b c"}, 7]'),
            await post(app, b'{"topic": "a", "bo'),
            await post(app, b'{"id": 1}', binary),
        ]

        assert [(answer.status, answer.document["n_failed"]) for answer in answers] == [(202, 2), (202, 1), (202, 1)]
        found = await cache.sources.quarantined(source="shop")
        assert [one.message.body for one in found] == [b'{"topic":"b c"}', b"7", b'{"topic": "a", "bo', b'{"id": 1}']
        assert [dict(one.message.headers) for one in found[2:]] == [
            {"content-type": "application/json"},
            {"content-type": "application/json", "ce-id": "7", "ce-type": "a.b"},
        ]
        assert found[3].reason == "ce-specversion: required, and missing"


async def test_what_was_sent_by_http_is_tried_again_by_its_format() -> None:
    """As when it came, but that it stands alone."""
    async with Cache() as cache:
        app = EventsEndpoint(cache, Hook(quarantine=kept_in(cache)))
        await post(app, b'[{"topic": "b c"}]', JSON)
        (one,) = await cache.sources.quarantined()

        mended = msgspec.structs.replace(
            one, message=msgspec.structs.replace(one.message, body=b'{"topic":"b","body":{}}')
        )

        assert (await retry(cache, [mended])).n_events == 1
        assert (await retry(cache, [one], format=Auto())).unreadable[0].id == one.id


async def test_a_wrong_format_is_no_reason_to_forget() -> None:
    """Its name may be that of a module that is not there any more."""
    async with Cache() as cache:
        one = kept({}, "gone")
        retried = await retry(cache, [one])

        assert retried.n_messages == 0
        assert retried.unreadable[0].reason.startswith("format: 'gone' is none.")


async def test_of_a_large_message_the_beginning_is_kept() -> None:
    """A store has no room for thousands of large ones; what was cut is never taken for the whole."""
    async with Cache() as cache:
        body = b"[]" + b" " * 300_000
        one = unreadable("queue", "auto", "at first", Message(topic="a.b", body=body))
        other = unreadable("queue", "auto", "at first", Message(topic="a.b", body=body + b"!"))
        await cache.sources.quarantine([one])

        retried = await retry(cache, await cache.sources.quarantined())

        assert (len(one.message.body), one.message.headers) == (262_144, {"everfresh-cut": "300002"})
        assert one.id != other.id
        assert retried.n_messages == 0
        assert retried.unreadable[0].reason.startswith("only some of its 300002 bytes, headers included, were")


async def test_of_large_headers_those_are_kept_that_have_room() -> None:
    """A body alone is not all that a broker passes on; the message is not whole without them."""
    async with Cache() as cache:
        headers = {"first": "1", "large": "x" * 65_536, "last": "2"}
        one = unreadable("queue", "auto", "at first", Message(topic="a.b", body=b"[]", headers=headers))
        await cache.sources.quarantine([one])

        retried = await retry(cache, await cache.sources.quarantined())

        assert one.message.headers == {"first": "1", "everfresh-cut": "65554"}
        assert (retried.n_messages, len(retried.unreadable)) == (0, 1)


async def test_all_of_the_quarantine_is_read_page_by_page() -> None:
    """Oldest first, of a source or of all, though it is more than a page."""
    async with Cache() as cache:
        some = [
            unreadable("ab"[number % 2], "auto", "no", Message(topic="a.b", body=b"%d" % number + b" " * 200_000))
            for number in range(60)
        ]
        await cache.sources.quarantine(some)

        assert len(await cache.sources.quarantined()) < len(some)
        assert [one.id async for one in cache.sources.each_quarantined()] == [one.id for one in some]
        assert [one.id async for one in cache.sources.each_quarantined("a")] == [one.id for one in some[::2]]


async def test_what_garbage_by_http_pushes_out_is_answered_for() -> None:
    """It may have been any source's event, so everything is suspect; at once, and then not again for a while."""
    async with Cache() as cache:
        await cache.put("a", 1, dep.Topic("a"))
        await cache.put("b", 2, dep.Topic("b"))
        app = EventsEndpoint(cache, Hook(quarantine=kept_in(cache, n_max=2)))

        await post(app, b"[1, 2]")
        before = [await cache.has("a"), await cache.has("b")]
        await post(app, b"[3]")
        after = [await cache.has("a"), await cache.has("b")]
        await cache.put("a", 1, dep.Topic("a"))
        await post(app, b"[4]")

        assert (before, after, await cache.has("a")) == ([True, True], [False, False], True)


async def test_a_store_chooses_no_code() -> None:
    """The module of a format is imported by the application, or not at all."""
    async with Cache() as cache:
        one = kept({}, "this:s")
        await cache.sources.quarantine([one])

        retried = await retry(cache, [one])

        assert retried.unreadable[0].reason.startswith("format: 'this:s' is not imported here.")
        assert "this" not in sys.modules
