"""Widget: a cached call and the template that draws its value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everfresh import AsyncFunction, Entry, Key, State
from everfresh.demo import views


@dataclass(frozen=True, slots=True)
class Widget:
    """A place on the page: `function(argument)`, drawn by a template."""

    name: str
    title: str
    template: str
    function: AsyncFunction[..., Any]  # each returns what its template draws
    argument: str

    @property
    def key(self) -> Key:
        """The key of what it shows; the stream is told to follow this."""
        return self.function.key(self.argument)

    async def shown(self) -> Shown:
        """What the cache holds for it, as HTML and with how fresh it is. Built first if there is nothing yet."""
        while (entry := await self.function.entry(self.argument)) is None:
            await self.function(self.argument)
        return Shown(self, entry, self.render(entry))

    def render(self, entry: Entry) -> str:
        """The entry as HTML."""
        return views.html(f"widgets/{self.template}", value=self.function.load(entry), entry=entry)


@dataclass(frozen=True, slots=True)
class Shown:
    """A widget as the page shows it."""

    widget: Widget
    entry: Entry
    html: str

    @property
    def state(self) -> str:
        """The state in the words of `<live-entry>`: an old value is stale while its next one is due or being built."""
        return self.entry.state.value if self.entry.state in {State.FRESH, State.FAILED} else "stale"
