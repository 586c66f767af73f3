"""`everfresh touches`: which entries events would rebuild, and why, printed for people or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import click
import msgspec

from everfresh.cache.foretelling import Foreteller, Foretold
from everfresh.cache.printing import printable, printable_key
from everfresh.cli.opening import opened
from everfresh.cli.words import count, shown
from everfresh.model.event import Event
from everfresh.protocol.foreseeing import Fate
from everfresh.sources.cloudevents import structured_event
from everfresh.sources.files import Line
from everfresh.sources.messages import Malformed, decoded, event_of, object_of
from everfresh.sources.taken import is_array


@click.command()
@click.argument("app")
@click.argument("file", type=click.File("rb"), metavar="EVENT.json")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object for each event.")
def touches(app: str, file: IO[bytes], *, is_json: bool) -> int:
    """Say which entries an event would rebuild, and why. Nothing is published.

    APP names the cache as module:attribute, looked for in the current folder too. EVENT.json holds one event, as a
    message (topic, body, id, headers) or a CloudEvent, an array of them, or one a line; - reads standard input. What
    is no event is reported and passed over, and the exit code is then 1.
    """
    tally = _Tally()
    with opened(app) as cache:
        foreteller = Foreteller(cache)
        for number, event in read_events(file.read()):
            if isinstance(event, str):
                tally.n_bad += 1
                click.echo(f"{number}: {printable(event)}", err=True)
                continue
            found = foreteller.foretell(event)
            tally.take(found)
            if is_json:
                click.echo(msgspec.json.encode(document_of(number, event, found)))
            else:
                click.echo("\n".join(_page(event, found)))
    if not is_json:
        click.echo(str(tally))
    return 1 if tally.n_bad else 0


def read_events(text: bytes) -> Iterator[Line]:
    """The events of a document, with their numbers: one, an array of them, or one a line; or what is wrong."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    # Several lines, the first of which is whole, are a recording; all else is one document.
    if len(lines) > 1 and not isinstance(_decoded(lines[0][1]), Malformed):
        items = [(number, _decoded(line)) for number, line in lines]
    else:
        document = _decoded(text)
        items = list(enumerate(document if is_array(document) else [document], start=1))
    for number, item in items:
        try:
            yield number, _read(item)
        except Malformed as error:
            yield number, str(error)


def _decoded(text: bytes) -> object:
    """What stands there, or what is wrong with it."""
    try:
        return decoded(text)
    except Malformed as error:
        return error


def _read(item: object) -> Event:
    if isinstance(item, Malformed):
        raise item
    fields = object_of(item, "", "an event")
    return structured_event(fields) if "specversion" in fields and "topic" not in fields else event_of(fields)


class _Tally:
    """What all events together would do."""

    def __init__(self) -> None:
        self.n_events = 0
        self.n_bad = 0
        self._keys_of: dict[Fate, set[str]] = {fate: set() for fate in Fate}

    def take(self, found: Sequence[Foretold]) -> None:
        """Count an event."""
        self.n_events += 1
        for one in found:
            self._keys_of[one.fate].add(one.key)

    def __str__(self) -> str:
        n_of = {fate: len(keys) for fate, keys in self._keys_of.items()}
        rebuilt = count(n_of[Fate.REFRESH], "entry", "entries")
        return (
            f"{count(self.n_events, 'event')} would rebuild {rebuilt}, drop {n_of[Fate.DROP]:,}, and make "
            f"{n_of[Fate.SUSPECT]:,} suspect; {count(self.n_bad, 'bad item')}."
        )


def document_of(number: int, event: Event, found: Sequence[Foretold]) -> dict[str, object]:
    """What one event would do, for programs."""
    return {"number": number, "topic": event.topic, "id": event.id, "entries": [entry_of(one) for one in found]}


def entry_of(one: Foretold) -> dict[str, object]:
    """What becomes of one entry, for programs."""
    return {
        "key": one.key,
        "function": one.function,
        "state": None if one.state is None else one.state.value,
        "fate": one.fate.value,
        "meets": one.met,
        "built_from": one.inner,
        "but": one.but,
    }


def _page(event: Event, found: Sequence[Foretold]) -> Iterator[str]:
    named = f"{event.topic} {event.id}" if event.id else event.topic
    yield f"{printable(named)}{'' if found else ' touches nothing'}"
    for one in found:
        yield f"  {one.fate.value:<8} {printable_key(one.key)}"
        yield from (f"             {reason}" for reason in shown(reasons_of(one)))


def reasons_of(one: Foretold) -> list[str]:
    """Why, and what may come in between, each in a line that a terminal only shows."""
    below = "is unsettled" if one.fate is Fate.SUSPECT else "is dropped"
    reasons = [*one.met, *(f"it was built from {printable_key(key)}, which {below}" for key in one.inner)]
    return [*reasons, one.but] if one.but else reasons
