"""Notices: what a process tells its listeners, by the names and with the fields of one table."""

import logging
import re
from collections.abc import Awaitable, Callable

import pytest

from everfresh import FOREVER, Cache, Event, Notice, dep
from everfresh.cache import NOTICES
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done
from tests.cache.upstreams import Broken, Upstream

Scene = Callable[[Colour, Upstream], Awaitable[object]]
FIELDS_OF = {name: re.split(r", ", text.rpartition(": ")[2]) for name, text in NOTICES.items()}


async def _publish(colour: Colour, upstream: Upstream) -> None:
    await colour.cache.publish(Event("bug.update", id="m-1"))


async def _invalidate(colour: Colour, upstream: Upstream) -> None:
    await upstream.announce()


async def _build(colour: Colour, upstream: Upstream) -> None:
    @colour.cached()
    async def value() -> int:
        return upstream.read()

    await done(value())


async def _fail_to_build(colour: Colour, upstream: Upstream) -> None:
    upstream.is_broken = True
    with pytest.raises(Broken):
        await _build(colour, upstream)


async def _refresh(colour: Colour, upstream: Upstream) -> None:
    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    n_read = upstream.n_read
    await upstream.announce()
    await soon(lambda: upstream.n_read > n_read, what="a refresh")


async def _fail_to_refresh(colour: Colour, upstream: Upstream) -> None:
    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()


async def _fail_in_the_background(colour: Colour, upstream: Upstream) -> None:
    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    await done(value())


SCENES: list[tuple[str, Scene, bool]] = [
    ("event.applied", _publish, False),
    ("event.applied", _invalidate, False),
    ("build.done", _build, False),
    ("build.failed", _fail_to_build, False),
    ("refresh.done", _refresh, True),
    ("refresh.failed", _fail_to_refresh, True),
    ("revalidate.failed", _fail_in_the_background, False),
]


async def told_in(colour: Colour, upstream: Upstream, name: str, scene: Scene, *, with_worker: bool) -> Notice:
    """The first notice of that name, waited for."""
    told: list[Notice] = []
    colour.cache.listen(told.append)

    def found() -> Notice | None:
        return next((notice for notice in told if notice.name == name), None)

    if with_worker:
        async with Worker(colour.cache):
            await scene(colour, upstream)
            notice = await soon(found, what=name)
    else:
        await scene(colour, upstream)
        notice = await soon(found, what=name)
    assert notice is not None
    return notice


@pytest.mark.parametrize(("name", "scene", "with_worker"), SCENES, ids=lambda value: getattr(value, "__name__", value))
async def test_a_notice_has_exactly_the_fields_of_the_table(
    colour: Colour, upstream: Upstream, name: str, scene: Scene, with_worker: bool
) -> None:
    """Who writes a metric relies on it."""
    notice = await told_in(colour, upstream, name, scene, with_worker=with_worker)

    assert list(notice.fields) == FIELDS_OF[name]


async def test_every_told_notice_is_in_the_table(colour: Colour, upstream: Upstream) -> None:
    """There are no others."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))

    async with Worker(colour.cache):
        await _refresh(colour, upstream)
        await _fail_to_refresh_again(colour, upstream)
        await soon(lambda: "refresh.failed" in told, what="a failed refresh")

    assert set(told) <= set(NOTICES)


async def _fail_to_refresh_again(colour: Colour, upstream: Upstream) -> None:
    await upstream.break_down()


async def test_a_failed_build_says_which_error_and_when_it_is_tried_again(colour: Colour, upstream: Upstream) -> None:
    """What somebody on call asks first."""
    notice = await told_in(colour, upstream, "refresh.failed", _fail_to_refresh, with_worker=True)

    seen = {name: notice.fields[name] for name in ("error", "attempts", "retry_in_s")}
    assert seen == {"error": "Broken: the upstream is down", "attempts": 1, "retry_in_s": 0.5}


async def test_an_applied_event_says_what_it_touched(cache: Cache) -> None:
    """Directly, and what became suspect because of it."""
    told: list[Notice] = []

    @cache.cached(depends_on=[dep.Topic("bug.*")], key="inner")
    def inner() -> int:
        return 1

    @cache.cached(key="outer")
    def outer() -> int:
        return inner()

    outer()
    cache.listen(told.append)
    position = await cache.publish(Event("bug.update", id="m-1"))

    (notice,) = told
    assert dict(notice.fields) == {
        "topic": "bug.update",
        "id": "m-1",
        "n_events": 1,
        "position": position,
        "touched": ("inner",),
        "suspect": ("outer",),
        "n_widened": 0,
        "n_predicates": 0,
    }


async def test_a_listener_that_raises_is_passed_over(cache: Cache) -> None:
    """Somebody else's mistake stops neither a build nor the other listeners."""
    told: list[str] = []

    def broken(notice: Notice) -> None:
        raise ValueError("a mistake in a listener")

    cache.listen(broken)
    cache.listen(lambda notice: told.append(notice.name))

    await cache.publish(Event("bug.update"))

    assert told == ["event.applied"]


async def test_a_listener_that_raises_is_logged(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """Else nobody would learn why a metric stands still."""

    def broken(notice: Notice) -> None:
        raise ValueError("a mistake in a listener")

    cache.listen(broken)
    await cache.publish(Event("bug.update"))

    assert [record.message for record in caplog.records if "a mistake in a listener" in record.message]


async def test_a_listener_can_stop_listening(cache: Cache) -> None:
    """`listen` gives how; doing it twice is no error."""
    told: list[str] = []
    stop = cache.listen(lambda notice: told.append(notice.name))

    await cache.publish(Event("a"))
    stop()
    stop()
    await cache.publish(Event("a"))

    assert told == ["event.applied"]


async def test_notices_are_logged_with_their_fields(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """An event name and key-values, so that logs can be searched."""
    with caplog.at_level(logging.DEBUG, logger="everfresh"):
        await cache.publish(Event("bug.update", id="m-1"))

    (record,) = [record for record in caplog.records if getattr(record, "everfresh_notice", "") == "event.applied"]
    assert record.everfresh_fields["id"] == "m-1"  # type: ignore[attr-defined]  # what `extra` adds


async def test_failures_are_logged_as_warnings(
    colour: Colour, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    """They show without anybody having asked for them."""
    await _fail_to_build(colour, upstream)

    assert [record.levelname for record in caplog.records] == ["WARNING"]
