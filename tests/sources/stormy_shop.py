"""What the processes of a storm run: functions over a file of what was told, and a format that never reads a message.

The file has a byte for each event, set before the event is published. `seen(n)` is built from the n-th, `latest(item)`
from all those of an item. All are built before anything is told. An event that is lost leaves its `seen` as it was, and
fresh; nothing but events touches them, as the queue is known to the store before.
"""

import signal
from collections.abc import Sequence
from pathlib import Path

from everfresh import Cache, Event, dep
from everfresh.model.message import Message

N_ITEMS = 100
TOPIC = "storm.told"


class Ledger:
    """What was told, in a file that all processes see."""

    def __init__(self, folder: Path, n_events: int) -> None:
        self.n_events = n_events
        self._file = folder / "told"
        if not self._file.exists():
            self._file.write_bytes(bytes(n_events))

    def tell(self, numbers: range) -> None:
        """These will be published now."""
        with self._file.open("r+b") as file:
            file.seek(numbers.start)
            file.write(b"\x01" * len(numbers))

    def is_told(self, number: int) -> bool:
        """Whether the event may have been published."""
        with self._file.open("rb") as file:
            file.seek(number)
            return file.read(1) == b"\x01"

    def latest(self, item: int) -> int:
        """The last event of the item, -1 when there was none."""
        of_item = self._file.read_bytes()[item::N_ITEMS]
        return of_item.rfind(b"\x01") * N_ITEMS + item if b"\x01" in of_item else -1


class Shop:
    """Cached functions over the ledger."""

    def __init__(self, store: str, folder: Path, n_events: int) -> None:
        self.ledger = ledger = Ledger(folder, n_events)
        self.cache = cache = Cache(store, near=0)

        @cache.cached(key="seen:{number}", depends_on=[dep.Topic(TOPIC, where={"number": dep.arg("number")})])
        async def seen(number: int) -> bool:
            return ledger.is_told(number)

        @cache.cached(key="latest:{item}", depends_on=[dep.Topic(TOPIC, where={"item": dep.arg("item")})])
        async def latest(item: int) -> int:
            return ledger.latest(item)

        self.seen, self.latest = seen, latest

    async def build_all(self) -> None:
        """Have all entries."""
        for number in range(self.ledger.n_events):
            await self.seen(number)
        for item in range(N_ITEMS):
            await self.latest(item)


class Stopping:
    """Stands still, for ever, with the first message that it is to read: received, and not applied."""

    name: str = "stopping"
    keeps_topics: bool = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def events_of(self, message: Message) -> Sequence[Event]:
        """Never any."""
        (self._folder / "stopped").touch()
        signal.pause()
        raise AssertionError("it went on")
