"""The commands that are processes: they run until they are told to end."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import click

from everfresh.cache.printing import printable
from everfresh.cli.apps import AppUnusable, asgi_of, cache_of
from everfresh.cli.keeping import Kept, keep
from everfresh.cli.listening import Address
from everfresh.cli.logs import LogFormat, configure
from everfresh.cli.naming_sources import consumers_of
from everfresh.cli.parameters import address, duration
from everfresh.cli.places import taken_place
from everfresh.cli.supervising import NO_STORE, Program, refused, supervise
from everfresh.model.errors import StoreUnavailable

F = TypeVar("F", bound=Callable[..., Any])


_LEVELS = ("debug", "info", "warning", "error")

_concurrency = click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="How many async builds run at once, and as many sync ones.",
)
_cache = click.option("--cache", metavar="APP", help="The cache.  [default: the one in the application's module]")


def _serving(command: F) -> F:
    """The options of what serves an application."""
    options = (
        _cache,
        click.option(
            "--listen",
            type=address,
            metavar="HOST:PORT",
            default="127.0.0.1:8000",
            show_default=True,
            help="Where to serve; port 0 is a free one.",
        ),
        click.option(
            "--workers",
            "n_processes",
            type=click.IntRange(1, 256),
            default=1,
            show_default=True,
            metavar="N",
            help="How many processes do it, side by side; one that ends is started again.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _sources(*, is_required: bool) -> Callable[[F], F]:
    """The options about sources."""

    def decorate(command: F) -> F:
        options = (
            click.option(
                "--source",
                "sources",
                multiple=True,
                required=is_required,
                envvar="EVERFRESH_SOURCES",
                metavar="URL",
                help="Where events come from, as a URL or as module:attribute; may be given several times.",
            ),
            click.option("--format", "format_name", metavar="NAME", help="What reads them.  [default: auto]"),
            click.option(
                "--canary",
                type=duration,
                metavar="DURATION",
                help="Send a message through each source so often, to hear whether it is silent.  [default: never]",
            ),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _common(command: F) -> F:
    """The options of all processes."""
    options = (
        click.option(
            "--health",
            type=address,
            metavar="HOST:PORT",
            help="Answer GET /live and GET /ready there.  [default: nowhere]",
        ),
        click.option(
            "--grace",
            type=click.IntRange(1, 3600),
            default=1,
            show_default=True,
            metavar="S",
            help="Seconds that builds and answers under way are given at the end.",
        ),
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option(
            "--log-level", type=click.Choice(_LEVELS), default="info", show_default=True, help="debug: each refresh."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("app")
@_concurrency
@_common
def worker(app: str, concurrency: int, **common: Any) -> int:  # noqa: ANN401 - as click gives them
    """Refresh what events touch, until SIGTERM.

    APP names the cache as module:attribute, looked for in the current folder too. Import all that declares cached
    functions in that module.
    """
    return _supervised(lambda: Program(cache=cache_of(app), concurrency=concurrency), **common)


@click.command()
@click.argument("app")
@_sources(is_required=True)
@_common
def consume(
    app: str,
    sources: tuple[str, ...],
    format_name: str | None,
    canary: timedelta | None,
    **common: Any,  # noqa: ANN401 - as above
) -> int:
    """Apply the events of sources to a cache, until SIGTERM.

    APP names the cache as module:attribute, looked for in the current folder too. Import all that declares cached
    functions in that module: their topics are what sources are asked for. A message is acknowledged only after the
    store has applied it; what cannot be read goes to quarantine. The variable EVERFRESH_SOURCES may hold the sources
    too, so that no password stands in a command line.
    """
    return _supervised(
        lambda: Program(cache=cache_of(app), sources=consumers_of(sources, format_name, canary)), **common
    )


@click.command()
@click.argument("app")
@_serving
@_common
@click.pass_obj
def web(
    arguments: Sequence[str],
    /,
    app: str,
    *,
    cache: str | None,
    listen: Address,
    n_processes: int,
    **common: Any,  # noqa: ANN401 - as above
) -> int:
    """Serve an ASGI application, until SIGTERM.

    APP names the application as module:attribute, looked for in the current folder too.
    """

    def program() -> Program:
        served, its_cache = asgi_of(app, cache)
        return Program(cache=its_cache, app=served, listen=listen)

    return _side_by_side(program, n_processes, arguments, listen, **common)


@click.command()
@click.argument("app")
@_concurrency
@_serving
@_sources(is_required=False)
@_common
@click.pass_obj
def run(  # noqa: PLR0913 - a whole application has as many options
    arguments: Sequence[str],
    /,
    app: str,
    *,
    cache: str | None,
    concurrency: int,
    listen: Address,
    n_processes: int,
    sources: tuple[str, ...],
    format_name: str | None,
    canary: timedelta | None,
    **common: Any,  # noqa: ANN401 - as above
) -> int:
    """Serve, refresh and consume in one process, until SIGTERM.

    APP names the ASGI application as module:attribute, looked for in the current folder too. What events touch is
    refreshed here, and the sources that are named are consumed.
    """

    def program() -> Program:
        served, its_cache = asgi_of(app, cache)
        consumers = consumers_of(sources, format_name, canary)
        return Program(cache=its_cache, concurrency=concurrency, sources=consumers, app=served, listen=listen)

    return _side_by_side(program, n_processes, arguments, listen, **common)


def _side_by_side(  # noqa: PLR0913 - what every process is told
    make: Callable[[], Program],
    n_processes: int,
    arguments: Sequence[str],
    listen: Address,
    *,
    health: Address | None,
    grace: int,
    log_format: LogFormat,
    log_level: str,
) -> int:
    """Keep so many processes of this command line, or be one of them."""
    place = taken_place()
    if n_processes == 1:
        return _supervised(make, health=health, grace=grace, log_format=log_format, log_level=log_level)
    if place is None:
        configure(log_format, log_level)
        _check_extra()
        return keep(Kept(n=n_processes, arguments=arguments, listen=listen, health=health, grace_s=grace))

    def placed() -> Program:
        program = make()
        if not program.cache.engine.store.is_shared:
            program.cache.close()
            raise click.BadParameter(_NOT_SHARED, param_hint="--workers")
        return replace(program, place=place)

    # Of its health the parent tells.
    return _supervised(placed, health=None, grace=grace, log_format=log_format, log_level=log_level)


_NOT_SHARED = (
    "each process would have a cache of its own. Give the cache a store that processes share: sqlite: or redis:"
)


def _supervised(
    make: Callable[[], Program], *, health: Address | None, grace: int, log_format: LogFormat, log_level: str
) -> int:
    configure(log_format, log_level)
    try:
        program = replace(make(), health=health, grace_s=grace)
    except AppUnusable as error:
        raise click.BadParameter(printable(str(error)), param_hint="APP") from error
    except StoreUnavailable as error:
        return refused(NO_STORE, error)
    if program.health is not None or program.app is not None:
        _check_extra()
    return supervise(program)


def _check_extra() -> None:
    """Find out before anything starts whether this process can serve."""
    try:
        importlib.import_module("everfresh.cli.serving")
    except ModuleNotFoundError as error:
        if (error.name or "everfresh").startswith("everfresh"):
            raise
        raise click.ClickException(
            f"to answer HTTP, also with --health, {error.name!r} is needed. Install it: pip install 'everfresh[all]'"
        ) from error
