"""Conformance 14: predicates choose, and each watcher hears of its own entry alone."""

from contextlib import AsyncExitStack

from everfresh import Cache, Event, dep
from everfresh.push import Topic, Updates
from everfresh.refresh import Worker
from tests.push.fake import calling

ACCEPTING = [2, 5, 7]


async def test_exactly_the_accepting_entries_are_rebuilt_and_pushed_to_who_watches_them(cache: Cache) -> None:
    """14: three of ten are rebuilt, three updates are pushed, each only to its watcher."""
    built: list[int] = []
    world = {"round": 0}

    def concerns(event: Event, number: int) -> bool:
        return number in event.body["numbers"]

    @cache.cached(should_refresh=concerns, topics=["message.*"], depends_on=[dep.Tag("all")])
    async def widget(number: int) -> list[int]:
        built.append(number)
        return [number, world["round"]]

    for number in range(10):
        await widget(number)
    built.clear()
    updates = Updates(cache, {str(number): Topic(widget.key(number)) for number in range(10)})
    heard: dict[int, list[object]] = {number: [] for number in range(10)}

    async with Worker(cache), AsyncExitStack() as stack:
        clients = {number: await stack.enter_async_context(calling(updates, f"topic={number}")) for number in range(10)}
        for client in clients.values():
            await client.begun()

        world["round"] = 1
        await cache.publish(Event("message.new", {"numbers": ACCEPTING}))
        for number in ACCEPTING:
            heard[number] += (event.data["value"] for event in (await clients[number].until("update"))[-1:])
        rebuilt = sorted(built)

        # Something that all of them hear, so that what they did not hear before is known never to come.
        world["round"] = 2
        await cache.invalidate(dep.Tag("all"))
        for number, client in clients.items():
            received = await client.until("update")
            heard[number] += (event.data["value"] for event in received if event.event == "update")

    assert rebuilt == ACCEPTING
    assert heard == {
        number: [[number, 1], [number, 2]] if number in ACCEPTING else [[number, 2]] for number in range(10)
    }
