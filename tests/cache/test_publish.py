"""`publish`, `invalidate`, `touched_by`: what events do, and what a publisher may rely on when they return."""

import pytest

from everfresh import Cache, Event, InvalidDependency, InvalidEvent, Key, State, dep
from tests.cache.making import Colour, done, entry_of
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis
ARTICLE_1 = Event.change("article", before={"id": 1}, after={"id": 1})


async def test_each_event_moves_the_position_on(cache: Cache) -> None:
    """A position says what is applied."""
    positions = [await cache.publish(Event("a")), await cache.invalidate(dep.Tag("t")), await cache.position()]

    assert [positions[1].covers(positions[0]), positions[0].covers(positions[1])] == [True, False]
    assert positions[2] == positions[1]


async def test_several_events_are_one_step(cache: Cache) -> None:
    """They are applied together, and told of once."""
    told: list[tuple[str, object]] = []
    cache.listen(lambda notice: told.append((notice.name, notice.fields["n_events"])))
    await cache.put("a", 1, dep.Topic("a"))
    await cache.put("b", 1, dep.Topic("b"))

    await cache.publish(Event("a"), Event("b"))

    assert (await cache.has("a"), await cache.has("b"), told) == (False, False, [("event.applied", 2)])


async def test_no_events_are_no_step(cache: Cache) -> None:
    """The position is given as it is."""
    before = await cache.publish(Event("a"))

    assert (await cache.publish(), await cache.invalidate()) == (before, before)


@pytest.mark.parametrize("nonsense", [None, "bug.update", {"topic": "a"}, [Event("a")], 5, Event], ids=repr)
async def test_what_is_no_event_is_refused(cache: Cache, nonsense: object) -> None:
    """The message shows what came and how an event is made."""
    with pytest.raises(InvalidEvent, match=r"is no event. Use Event\("):
        await cache.publish(nonsense)  # type: ignore[arg-type]  # the mistake is the test


async def test_one_wrong_event_keeps_the_others_from_being_applied(cache: Cache) -> None:
    """All or none, so that publishing them again is right."""
    before = await cache.position()

    with pytest.raises(InvalidEvent):
        await cache.publish(Event("a"), None)  # type: ignore[arg-type]  # the mistake is the test

    assert await cache.position() == before


@pytest.mark.parametrize("nonsense", [None, "article", 7, ("article", 1), dep.arg("x"), dep.Tag], ids=repr)
async def test_what_is_no_dependency_cannot_be_invalidated(cache: Cache, nonsense: object) -> None:
    """A mistake must not look like an invalidation that found nothing."""
    with pytest.raises(InvalidDependency):
        await cache.invalidate(nonsense)  # type: ignore[arg-type]  # the mistake is the test


@pytest.mark.parametrize(
    "dependency",
    [
        dep.Id("article", 1),
        dep.Tag("homepage"),
        dep.Topic("bugzilla.bug.*", {"bug.product": "Fedora"}),
        dep.Topic("bugzilla.bug.*"),
        dep.Call("other"),
    ],
    ids=repr,
)
async def test_whatever_an_entry_hangs_on_can_be_invalidated(cache: Cache, dependency: dep.Dependency) -> None:
    """By the very dependency."""
    await cache.put("other", 1)
    await cache.put("a", 1, dependency)
    await cache.put("b", 1, dep.Tag("something else"))

    await cache.invalidate(dependency)

    assert (await cache.has("a"), await cache.has("b")) == (False, True)


async def test_a_watched_object_can_be_invalidated(cache: Cache) -> None:
    """`dep.Id(...)` without `watch` speaks for the whole object, whatever of it an entry watches."""
    await cache.put("a", 1, dep.Id("article", 1, watch=("title",)))

    await cache.invalidate(dep.Id("article", 1))

    assert not await cache.has("a")


async def test_an_object_is_touched_by_its_own_events(cache: Cache) -> None:
    """And by those that cannot say which object it was."""
    events = [
        Event.change("article", after={"id": 1}),
        Event.change("article", before={"id": 1}),
        ARTICLE_1,
        Event.change("article", before={"title": "a"}, after={"title": "b"}),
        Event.unknown("article"),
    ]
    touched: list[bool] = []
    for event in events:
        await cache.put("a", 1, dep.Id("article", 1))
        await cache.publish(event)
        touched.append(not await cache.has("a"))

    assert touched == [True] * 5


async def test_an_object_is_not_touched_by_the_events_of_others(cache: Cache) -> None:
    """Neither of another object, nor of another type."""
    await cache.put("a", 1, dep.Id("article", 1))

    await cache.publish(
        Event.change("article", before={"id": 2}, after={"id": 2}),
        Event.change("comment", before={"id": 1}, after={"id": 1}),
        Event("article.update", {"id": 1}),
    )

    assert await cache.has("a")


async def test_a_watched_field_alone_touches(cache: Cache) -> None:
    """Who shows a title does not mind a new date."""
    await cache.put("a", 1, dep.Id("article", 1, watch=("title",)))

    await cache.publish(
        Event.change("article", before={"id": 1, "title": "a", "n": 1}, after={"id": 1, "title": "a", "n": 2})
    )
    after_another_field = await cache.has("a")
    await cache.publish(Event.change("article", before={"id": 1, "title": "a"}, after={"id": 1, "title": "b"}))

    assert (after_another_field, await cache.has("a")) == (True, False)


async def test_touched_by_names_what_an_event_would_touch(cache: Cache) -> None:
    """Sorted keys, of those touched directly."""
    for key in ("c", "a"):
        await cache.put(key, 1, dep.Id("article", 1))
    await cache.put("b", 1, dep.Id("article", 2))

    assert await cache.touched_by(ARTICLE_1) == ["a", "c"]


async def test_touched_by_changes_nothing(cache: Cache) -> None:
    """It publishes nothing: no position, no state, no feed record, no notice."""
    told: list[str] = []

    @cache.cached(depends_on=[dep.Id("article", 1)])
    def title() -> str:
        return "Tea"

    title()
    before = (await cache.position(), title.entry())
    cache.listen(lambda notice: told.append(notice.name))
    await cache.touched_by(ARTICLE_1)

    assert ((await cache.position(), title.entry()), told) == (before, [])


async def test_touched_by_refuses_what_is_no_event(cache: Cache) -> None:
    """As `publish` does."""
    with pytest.raises(InvalidEvent):
        await cache.touched_by("bug.update")  # type: ignore[arg-type]  # the mistake is the test


async def test_an_event_says_on_the_entry_that_it_was_the_one(colour: Colour) -> None:
    """The reason names its topic and its id."""

    @colour.cached(depends_on=[dep.Topic("bug.*")])
    async def bugs() -> int:
        return 1

    await done(bugs())
    await colour.cache.publish(Event("bug.update", id="m-7"))
    entry = await entry_of(bugs)

    assert (entry.state, entry.reason) == (State.DIRTY, "event bug.update m-7")


async def test_many_equal_events_cost_one_build(colour: Colour, upstream: Upstream) -> None:
    """Conformance 17: a burst coalesces, and the last value is right."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    for number in range(100):
        await upstream.change(number)

    assert (await done(value()), upstream.n_read) == (99, 2)


def test_the_keys_are_keys(cache: Cache) -> None:
    """What `touched_by` gives can be handed to whatever takes a key."""
    cache.blocking.put("a", 1, dep.Tag("t"), dep.Topic("a"))

    touched: list[Key] = cache.blocking.touched_by(Event("a"))

    assert cache.blocking.delete(*touched) == 1
