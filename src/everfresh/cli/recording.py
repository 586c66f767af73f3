"""`everfresh record`: what a source brings, written to a file as it comes, until somebody ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeVar, runtime_checkable

import click

from everfresh.cache.printing import printable
from everfresh.cli.naming_sources import adapter_of
from everfresh.cli.parameters import not_nan
from everfresh.cli.words import count
from everfresh.model.clock import fair_dice
from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.addresses import told
from everfresh.sources.backoff import Backoff
from everfresh.sources.canary import is_canary
from everfresh.sources.consuming import consumer_name
from everfresh.sources.files import written
from everfresh.sources.formats import PartlyRead
from everfresh.sources.quarantine import reason_of
from everfresh.sources.source import Adapter, Start, Stream
from everfresh.sources.templates import encoded_word

T = TypeVar("T")

_MAX_MESSAGES = 100
_WAIT_S = 1.0
_FAREWELL_S = 2.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@runtime_checkable
class Tappable(Protocol):
    """A source that can be read beside the application, which then misses nothing."""

    def tapped(self) -> Adapter:
        """The same source for somebody who only looks."""
        ...


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("file", metavar="FILE")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many events.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    callback=not_nan,
    metavar="S",
    help="End after so many seconds.",
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="PATTERN",
    help="What to ask the source for; may be given several times.  [default: #]",
)
@click.option("--format", "format_name", metavar="NAME", help="What reads its messages.  [default: auto]")
@click.option(
    "--take", "is_taking", is_flag=True, help="Read in the application's place what cannot be read beside it."
)
def record(  # noqa: PLR0913 - what, where to, and how much of it
    source: str,
    file: str,
    *,
    limit: int | None,
    seconds: float | None,
    topics: tuple[str, ...],
    format_name: str | None,
    is_taking: bool,
) -> int:
    """Write the events of a source to a file, until SIGTERM.

    SOURCE is a URL, or module:attribute. Each event is a line as `fedora-messaging record` writes it, added at the end
    of FILE; - writes to standard output. `replay` reads them. What cannot be read is reported and counted, and the exit
    code is then 1.

    The application misses nothing: what is recorded has a queue, consumer or session of its own at the broker, which
    goes with the connection. A source that cannot be read so is refused, but for --take: it is then read in the
    application's place, and not acknowledged, so that it comes to the application after the recording.
    """
    # What drivers log besides is told here in one line.
    logging.getLogger().addHandler(logging.NullHandler())
    adapter = adapter_of(source, format_name, hint="SOURCE")
    recorded = adapter.tapped() if isinstance(adapter, Tappable) else None
    if recorded is None and not is_taking:
        raise click.BadParameter(f"{printable(adapter.name)} {_NO_TAP}", param_hint="SOURCE")
    try:
        opened = click.open_file(file, "wb" if file == "-" else "ab")
        if file != "-" and _ends_within_a_line(file):
            opened.write(b"\n")
    except OSError as error:
        raise click.FileError(printable(file), error.strerror) from error
    recording = Recording(
        recorded or adapter, opened, topics=topics or ("#",), limit=limit, is_tap=recorded is not None
    )
    try:
        asyncio.run(recording.run(seconds))
    finally:
        # What could not be written has been told of, and would be tried once more here.
        with suppress(OSError):
            opened.close()
    click.echo(str(recording), err=True)
    return 1 if recording.n_unreadable else 0


def _ends_within_a_line(file: str) -> bool:
    """Whether the recording before was cut off while it wrote: else its last line would take our first with it."""
    path = Path(file)
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read() != b"\n"


_NO_TAP = "cannot be read beside the application. With --take it is read in its place, and comes to it afterwards."


@dataclass
class Recording:
    """Writes what comes; as text, how much that was."""

    adapter: Adapter
    sink: IO[bytes]
    topics: Sequence[str]
    limit: int | None
    is_tap: bool
    n_events: int = 0
    n_unreadable: int = 0
    _is_over: asyncio.Event = field(default_factory=asyncio.Event)
    _has_connected: bool = False

    async def run(self, seconds: float | None) -> None:
        """Record until a signal, the limit, or so many seconds.

        Raises:
            click.ClickException: the first connection could not be made, or the file not be written. Connections that
                break later are made again.
        """
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._is_over.set)
        if seconds is not None:
            loop.call_later(seconds, self._is_over.set)
        backoff = Backoff(_FIRST_RETRY_S, _LAST_RETRY_S, fair_dice)
        while not self._is_over.is_set():
            try:
                await self._until_over(self._record(backoff))
            except click.ClickException:
                raise
            except Exception as error:
                if not self._has_connected or isinstance(error, InvalidOption):
                    raise click.ClickException(printable(told(error))) from error
                click.echo(f"{printable(told(error))}; what comes until the next connection is missing.", err=True)
                await self._until_over(asyncio.sleep(backoff.next_s()))

    def __str__(self) -> str:
        bad = f"; {count(self.n_unreadable, 'message')} could not be read" if self.n_unreadable else ""
        return f"{count(self.n_events, 'event')} recorded{bad}."

    async def _record(self, backoff: Backoff) -> None:
        consumer = encoded_word(f"record:{consumer_name()}")
        start = Start(offset=None, topics=tuple(self.topics), consumer=consumer)
        async with self.adapter.open(start) as stream:
            if not self._has_connected:
                click.echo(f"recording {printable(self.adapter.name)}", err=True)
            self._has_connected = True
            while not self._is_over.is_set():
                await self._take(stream)
                backoff.reset()

    async def _take(self, stream: Stream) -> None:
        n_left = _MAX_MESSAGES if self.limit is None else self.limit - self.n_events
        batch = await stream.fetch(min(n_left, _MAX_MESSAGES), _WAIT_S)
        if batch.gap:
            click.echo(f"messages may be missing here: {printable(batch.gap)}", err=True)
        for message in batch.messages:
            if not is_canary(message):
                self._write(message)
        if batch.messages and self.is_tap:
            await stream.acknowledge(batch)

    def _write(self, message: Message) -> None:
        for line in self._lines_of(message):
            if self.n_events == self.limit:
                return
            try:
                self.sink.write(line)
                # Whoever reads along has it, and whatever ends this leaves whole lines.
                self.sink.flush()
            except OSError as error:
                raise click.ClickException(f"the file cannot be written: {error.strerror}") from error
            self.n_events += 1
            if self.n_events == self.limit:
                self._is_over.set()

    def _lines_of(self, message: Message) -> Iterator[bytes]:
        try:
            yield from map(written, self.adapter.format.events_of(message))
        except Exception as error:  # noqa: BLE001 - whatever a format does with it, it is no event
            if isinstance(error, PartlyRead):
                yield from map(written, error.events)
            self.n_unreadable += 1
            click.echo(f"{printable(message.topic)}: {printable(reason_of(error))}", err=True)

    async def _until_over(self, main: Awaitable[T]) -> None:
        """Carry it out to its end, or until the recording is over."""
        running, over = asyncio.ensure_future(main), asyncio.ensure_future(self._is_over.wait())
        try:
            await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, over):
                task.cancel()
            # A broker that does not answer any more keeps nobody.
            await asyncio.wait({running, over}, timeout=_FAREWELL_S)
