"""Redis Streams in the storm: the consumer is killed each second, the server once.

EVERFRESH_STORM_EVENTS says how many events; 20,000 is what is promised. The server writes each change to its disk
before it answers (`appendfsync always`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from everfresh.model.message import Message
from everfresh.sources.redis_stream_entries import EntryFields
from tests.redis_servers import RedisServer, redis_server
from tests.sources.stormy_buses import Scene, in_storm, play_killed_between, play_storm, scene_on

pytestmark = in_storm


class RedisBus:
    """A stream on a server that may be killed."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        # Each process has a name of its own, so what the killed ones held is taken over.
        self.source_url = f"{server.url.replace('redis:', 'redis+stream:')}/storm?group=g&start=all&claim_after=500ms"

    async def tell(self, messages: Sequence[Message]) -> None:
        """Some may be added twice."""
        await asyncio.to_thread(self._tell, messages)

    def _tell(self, messages: Sequence[Message]) -> None:
        fields = EntryFields()
        left = list(messages)
        while left:
            with suppress(redis.RedisError, OSError), self.server.client() as client:
                pipe = client.pipeline(transaction=False)
                for message in left[:250]:
                    pipe.execute_command("XADD", "storm", "*", *_flat(fields.entry_of(message)))
                pipe.execute()
                del left[:250]

    async def n_open(self) -> int:
        """What waits, and what is pending."""
        with self.server.client() as client:
            (group,) = client.xinfo_groups("storm")
            # Not its lag: what a group has read is not in the log, and is counted from nothing after a restart.
            waiting = client.xrange("storm", f"({group['last-delivered-id'].decode()}")
            return len(waiting or ()) + int(group["pending"])

    async def break_while(self, scene: Scene, messages: Sequence[Message]) -> None:
        """In the midst of it."""
        scene.consume()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.tell(messages))
            await scene.work_for(0.1)
            self.server.kill()
            await asyncio.to_thread(self.server.start)


def _flat(entry: dict[str, bytes | str]) -> list[bytes | str]:
    return [part for field in entry.items() for part in field]


@pytest.fixture
def bus() -> Iterator[RedisBus]:
    """A server that loses nothing that it took."""
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server:
        yield RedisBus(server)


async def test_killed_at_random_each_event_is_applied_and_the_end_is_right(
    bus: RedisBus, redis_url: str, tmp_path: Path
) -> None:
    """Nothing is lost, and no loss is told."""
    async with scene_on(bus, redis_url, tmp_path) as scene:
        await play_storm(scene)


async def test_what_was_received_and_not_applied_is_not_acknowledged(
    bus: RedisBus, redis_url: str, tmp_path: Path
) -> None:
    """Another consumer takes it over."""
    async with scene_on(bus, redis_url, tmp_path) as scene:
        await play_killed_between(scene, tmp_path)
