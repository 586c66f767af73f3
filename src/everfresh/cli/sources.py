"""`everfresh sources`: what the store remembers of sources, and forgetting one that nobody uses any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import click

from everfresh.cache import Cache
from everfresh.cache.explaining import span
from everfresh.cache.printing import printable
from everfresh.cli.diagnosing import PRESENT_S, present_of
from everfresh.cli.opening import opened_by_app_or_url
from everfresh.cli.words import count
from everfresh.protocol.sourcing import Sources, SourceState

_store = click.argument("store", metavar="APP|URL")


@click.group()
def sources() -> None:
    """List what the store knows of sources, or forget some.

    The first argument names the cache as module:attribute, looked for in the current folder too, or is the URL of its
    store.
    """


@sources.command(name="list")
@_store
def list_(store: str) -> int:
    """List them by name, with consumers, offset and quarantine."""

    async def read() -> Sources:
        async with cache:
            return await cache.sources.read()

    cache = opened_by_app_or_url(store)
    found = asyncio.run(read())
    for state in found.states:
        click.echo(f"{printable(state.source)}: {', '.join(_facts(state, found.now))}")
    click.echo(f"{count(len(found.states), 'source')}.")
    return 0


@sources.command()
@_store
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", "is_sure", is_flag=True, help="Also where a consumer was connected a moment ago.")
def forget(store: str, names: tuple[str, ...], *, is_sure: bool) -> int:
    """Forget how far sources have come, and what their consumers told.

    NAME is a source's name, as `list` prints it. Who consumes it again begins as at its first start. Messages in
    quarantine stay.
    """

    async def carry_out() -> int:
        async with cache:
            return await _forgotten(cache, names, is_sure=is_sure)

    cache = opened_by_app_or_url(store)
    click.echo(f"{count(asyncio.run(carry_out()), 'source')} forgotten.")
    return 0


async def _forgotten(cache: Cache, names: Sequence[str], *, is_sure: bool) -> int:
    found = await cache.sources.read()
    named = [_named(found, name) for name in names]
    for state in named:
        if not is_sure and any(report.is_connected for report in present_of(state.reports, found.now)):
            raise click.ClickException(
                f"{printable(state.source)}: a consumer has told in the last {PRESENT_S:.0f} s that it is connected, "
                "and would be back at once. Stop it first, or wait if it has just ended; --yes forgets all the same."
            )
    return await cache.sources.forget([state.source for state in named])


def _named(found: Sources, name: str) -> SourceState:
    for state in found.states:
        if name in {state.source, printable(state.source)} and (state.reports or state.offset is not None):
            return state
    if any(name in {state.source, printable(state.source)} for state in found.states):
        raise click.ClickException(
            f"{printable(name)}: it has nothing but messages in quarantine. `everfresh quarantine drop --source` "
            "forgets these."
        )
    raise click.ClickException(f"{printable(name)}: no such source. `everfresh sources list` prints their names.")


def _facts(state: SourceState, now: float) -> Iterator[str]:
    present = present_of(state.reports, now)
    n_connected = sum(report.is_connected for report in present)
    if n_connected:
        yield f"{count(n_connected, 'consumer')} connected"
    elif present:
        yield "not connected"
    elif state.reports:
        yield f"no consumer for {span(now - max(one.at for one in state.reports))}"
    else:
        yield "no consumer has told of itself"
    yield "no offset" if state.offset is None else "an offset"
    if state.n_quarantined:
        yield f"{state.n_quarantined:,} in quarantine"
