"""`everfresh quarantine`: messages that nobody could read: look at them, try them again, forget them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import click
import msgspec

from everfresh.cache import Cache
from everfresh.cache.printing import printable
from everfresh.cli.asking import confirm
from everfresh.cli.opening import format_called, opened_by_app_or_url
from everfresh.cli.words import count
from everfresh.protocol.sourcing import Unreadable
from everfresh.sources.quarantine import retry as read_again

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_N_BODY_SHOWN = 80

_store = click.argument("store", metavar="APP|URL")
_ids = click.argument("ids", nargs=-1, metavar="[ID]...")
_source = click.option("--source", metavar="NAME", help="Those of this source.")
_json = click.option("--json", "is_json", is_flag=True, help="Print one JSON object a line.")


@click.group()
def quarantine() -> None:
    """List, read again or forget messages that nobody could read.

    The first argument names the cache as module:attribute, looked for in the current folder too, or is the URL of its
    store. Messages are named by their ids, as `list` prints them; the beginning of one is enough.
    """


@quarantine.command(name="list")
@_store
@_source
@_json
def list_(store: str, source: str | None, *, is_json: bool) -> int:
    """List them, oldest first, with what was wrong and how they begin."""

    async def carry_out(cache: Cache) -> int:
        n = 0
        async for one in cache.sources.each_quarantined(source):
            click.echo(_document(one) if is_json else "\n".join(_entry(one)))
            n += 1
        return n

    n = _run(store, carry_out)
    if not is_json:
        click.echo(f"{count(n, 'message')} in quarantine.")
    return 0


@quarantine.command()
@_store
@click.argument("id_", metavar="ID")
@_json
def show(store: str, id_: str, *, is_json: bool) -> int:
    """Show one with all that it holds."""

    async def carry_out(cache: Cache) -> tuple[Unreadable, ...]:
        return await cache.sources.quarantined(await _ids_of(cache, (id_,), None))

    for one in _run(store, carry_out):
        click.echo(_document(one) if is_json else "\n".join(_page(one)))
    return 0


@quarantine.command()
@_store
@_ids
@_source
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@click.option("--format", "format_name", metavar="NAME", help="Read them by this format, and not by their own.")
def retry(store: str, ids: tuple[str, ...], source: str | None, format_name: str | None, *, is_all: bool) -> int:
    """Read messages again, apply their events, and forget them.

    Those that still cannot be read stay, with their new reasons, and the exit code is then 1.
    """
    _check_named(ids, source, is_all=is_all)
    reading = None if format_name is None else format_called(format_name)

    async def carry_out(cache: Cache) -> int:
        n_messages = n_events = n_left = 0
        for id_ in await _ids_of(cache, ids, source):
            # One by one: all of them may be more than there is memory.
            done = await read_again(cache, await cache.sources.quarantined([id_]), format=reading)
            for one in done.unreadable:
                click.echo(f"{one.id}: {printable(one.reason)}", err=True)
            n_messages, n_events = n_messages + done.n_messages, n_events + done.n_events
            n_left += len(done.unreadable)
        left = f"; {count(n_left, 'message')} still cannot be read" if n_left else ""
        click.echo(f"{count(n_messages, 'message')} read, {count(n_events, 'event')} applied{left}.")
        return 1 if n_left else 0

    return _run(store, carry_out)


@quarantine.command()
@_store
@_ids
@_source
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
def drop(store: str, ids: tuple[str, ...], source: str | None, *, is_all: bool, is_sure: bool) -> int:
    """Forget messages, whatever they would have said."""
    _check_named(ids, source, is_all=is_all)

    cache = opened_by_app_or_url(store)
    with asyncio.Runner() as runner:
        try:
            found = runner.run(_ids_of(cache, ids, source))
            # Not within the loop, which keeps Ctrl-C from whoever is asked.
            if found:
                confirm(f"{count(len(found), 'message')} will be gone.", is_sure=is_sure)
            n_gone = runner.run(cache.sources.release(found))
        finally:
            runner.run(cache.aclose())
    click.echo(f"{count(n_gone, 'message')} dropped.")
    return 0


def _check_named(ids: Sequence[str], source: str | None, *, is_all: bool) -> None:
    if not (ids or source or is_all):
        raise click.UsageError("Nothing is named. Give ids, --source NAME, or --all.")
    if ids and (source or is_all):
        raise click.UsageError("Give either ids, or --source NAME, or --all.")


def _run(store: str, carry_out: Callable[[Cache], Coroutine[Any, Any, T]]) -> T:
    async def opened() -> T:
        async with cache:
            return await carry_out(cache)

    cache = opened_by_app_or_url(store)
    return asyncio.run(opened())


async def _ids_of(cache: Cache, named: Sequence[str], source: str | None) -> list[str]:
    """The ids of those that are named; of all of the source, or of all, when none is."""
    kept = [one.id async for one in cache.sources.each_quarantined(source)]
    return list(dict.fromkeys(_named(kept, beginning) for beginning in named)) if named else kept


def _named(kept: Sequence[str], beginning: str) -> str:
    found = [id_ for id_ in kept if id_.startswith(beginning)]
    if beginning in found:
        return beginning
    if len(found) != 1:
        what = "several of them begin so" if found else "it is not in quarantine"
        raise click.ClickException(printable(f"{beginning!r}: {what}. `everfresh quarantine list` prints the ids."))
    return found[0]


def _entry(one: Unreadable) -> Iterator[str]:
    yield f"{one.id}  {_time(one.at)}  {printable(one.source)}  {printable(one.message.topic)}"
    yield f"    {printable(one.reason)}"
    # No letter has more than four bytes.
    body = one.message.body[: 4 * _N_BODY_SHOWN + 4].decode("utf-8", "backslashreplace")
    yield f"    {printable(body[:_N_BODY_SHOWN])}{'...' if len(body) > _N_BODY_SHOWN else ''}"


def _page(one: Unreadable) -> Iterator[str]:
    message = one.message
    yield one.id
    for name, text in (
        ("source", one.source),
        ("came", _time(one.at)),
        ("format", one.format),
        ("reason", one.reason),
        ("topic", message.topic),
        ("id", message.id),
    ):
        yield f"  {name}: {printable(text)}"
    yield "  headers:" if message.headers else "  headers: none"
    yield from (f"    {printable(name)}: {printable(text)}" for name, text in message.headers.items())
    yield f"  body, {count(len(message.body), 'byte')}:"
    lines = message.body.decode("utf-8", "backslashreplace").split("\n")
    yield from (f"    {printable(line)}" for line in lines)


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _document(one: Unreadable) -> bytes:
    """The message for programs: its body as text, or as base64 under another name when it is none."""
    message = one.message
    body: dict[str, str | bytes]
    try:
        body = {"body": message.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": message.body}
    return msgspec.json.encode(
        {
            "id": one.id,
            "source": one.source,
            "at": one.at,
            "format": one.format,
            "reason": one.reason,
            "message": {"topic": message.topic, "id": message.id, "headers": message.headers, **body},
        }
    )
