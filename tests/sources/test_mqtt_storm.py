"""MQTT in the storm: the consumer is killed each second, the broker once.

Mosquitto confirms a message before it has saved it, so the broker is killed just after it has saved, with all messages
of that round: what it had confirmed and not saved, it would lose, and no consumer could help that. Acknowledgements
that it has not saved come to nothing, and their messages come again.
"""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from everfresh.model.message import Message
from everfresh.sources.mqtt import Mqtt
from everfresh.sources.mqtt_session import Session
from everfresh.sources.source import Start
from tests.mosquitto_servers import MosquittoServer, mosquitto_server
from tests.redis_servers import new_prefix
from tests.sources.stormy_buses import Scene, Storm, in_storm

pytestmark = in_storm()


class MqttBus:
    """A broker that may be killed."""

    format = "plain"

    def __init__(self, server: MosquittoServer) -> None:
        self.server = server
        self.source_url = f"{server.url}?client_id=storm&topic=storm/%23&backfill=0"

    async def tell(self, messages: Sequence[Message]) -> None:
        """Each is confirmed."""
        writer = Session(Mqtt(self.server.url, client_id=new_prefix()).terms)
        await writer.connect()
        for start in range(0, len(messages), 250):
            part = messages[start : start + 250]
            await asyncio.gather(*(writer.publish(one.topic.replace(".", "/"), one) for one in part))
        await writer.close()

    async def n_open(self) -> int:
        """What the broker gives whoever comes under the consumer's name and acknowledges nothing."""
        source = Mqtt(self.server.url, ["storm/#"], client_id="storm")
        n_come = 0
        async with source.open(Start(offset=None, topics=(), consumer="c")) as stream:
            # The first has no messages: it tells that nobody followed the source until now.
            await stream.fetch(10_000, 0)
            while n := len((await stream.fetch(10_000, 0.5)).messages):
                n_come += n
        return n_come

    async def break_while(self, scene: Scene, messages: Sequence[Message]) -> None:
        """All are there and saved; then it is killed in the midst of their being consumed."""
        await self.tell(messages)
        self.server.save()
        scene.consume()
        await scene.work_for(0.1)
        self.server.kill()
        await asyncio.to_thread(self.server.start)


@pytest.fixture
def bus() -> Iterator[MqttBus]:
    """A broker that saves now and then: with each change it would do nothing else."""
    with mosquitto_server(saves_after=1_000) as server:
        yield MqttBus(server)


class TestStorm(Storm):
    """Unacknowledged messages come again to the next process with the same name."""
