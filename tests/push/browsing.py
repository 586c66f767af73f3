"""A page: what it shows, and what it must not be sent."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.push.fake import Call
from tests.push.sse import Received


@dataclass
class Browser:
    """What one page shows, and how far it has come."""

    number: int
    user: str
    by: type[Call]
    shown: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    state: dict[str, str] = field(default_factory=dict[str, str])
    here: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    cursor: str = ""
    call: Call | None = None
    # What it was granted at each question. It may follow more: an answer counts only if no word came before it.
    granted: frozenset[str] | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def come(self, rights: Collection[str]) -> str:
        """Begin a new stream; gives the cursor, which stands for what was followed all the time."""
        if not self.state.keys() >= {*rights}:
            self.cursor = ""
            self.shown.clear()
            self.state.clear()
        self.here.clear()
        self.granted = None
        return self.cursor

    def take(self, event: Received) -> None:
        """As the browser's client does.

        Raises:
            AssertionError: an older value came after a newer one, or the same twice on one stream.
        """
        self.cursor = event.id or self.cursor
        match event.event:
            case "reset":
                self.shown.clear()
                self.here.clear()
                self.state.clear()
            case "revoked":
                for name in event.data["topics"]:
                    self.shown.pop(name, None)
                    self.state.pop(name, None)
            case "update":
                name, value = event.data["topic"], event.data["value"]
                assert value >= self.shown.get(name, [0, 0]), "an older value after a newer one"
                assert value != self.here.get(name), "the same value twice on one stream"
                self.shown[name] = self.here[name] = value
                self.state[name] = event.data["state"]
            case "stale" | "fresh" | "failed":
                self.state[event.data["topic"]] = event.data["state"]
            case _:
                pass
