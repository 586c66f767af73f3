"""Redis Streams in the storm: the consumer is killed each second, the server once.

The server writes each change to its disk before it answers (`appendfsync always`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
import redis

from everfresh.model.message import Message
from everfresh.sources.redis_stream_entries import EntryFields
from tests.redis_servers import RedisServer, redis_server
from tests.sources.stormy_buses import Scene, Storm, break_amid, in_storm

pytestmark = in_storm()


class RedisBus:
    """A stream on a server that may be killed."""

    format = "plain"

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
        await break_amid(scene, self.server, messages)


def _flat(entry: dict[str, bytes | str]) -> list[bytes | str]:
    return [part for field in entry.items() for part in field]


@pytest.fixture
def bus() -> Iterator[RedisBus]:
    """A server that loses nothing that it took."""
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server:
        yield RedisBus(server)


class TestStorm(Storm):
    """Another consumer takes over what was not acknowledged."""
