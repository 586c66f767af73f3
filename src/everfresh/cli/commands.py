"""The commands: they read the command line, call what does the work, and turn outcomes into exit codes.

Exit codes: 0 all is well; 1 something did not work; 2 the command line cannot be used. Those of processes, which stand
in a module of their own, have more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import click

from everfresh._version import __version__
from everfresh.cache import Cache, Coverage, Explanation
from everfresh.cache.printing import key_printed, printable, printable_key
from everfresh.cli import processes
from everfresh.cli.admin import admin
from everfresh.cli.doctor import doctor
from everfresh.cli.dry_run import dry_run
from everfresh.cli.opening import opened
from everfresh.cli.parameters import not_nan
from everfresh.cli.quarantine import quarantine
from everfresh.cli.recording import record
from everfresh.cli.replay import lines_of, publish
from everfresh.cli.sources import sources
from everfresh.cli.tailing import tail
from everfresh.cli.touching import touches
from everfresh.cli.words import count
from everfresh.model.entry import State
from everfresh.model.errors import EverfreshError, InvalidOption, NotInCache
from everfresh.sources.files import read_lines


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line, and give its exit code."""
    try:
        # Commands that start more of their own kind pass the arguments on.
        code: object = everfresh.main(
            list(arguments), prog_name="everfresh", standalone_mode=False, obj=tuple(arguments)
        )
    except EverfreshError as error:
        click.echo(printable(" ".join([f"everfresh: {error}", *getattr(error, "__notes__", ())])), err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("everfresh: stopped.", err=True)
        return 1
    except OSError as error:
        # A disk that is full, say.
        click.echo(printable(f"everfresh: {error}"), err=True)
        return 1
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="everfresh %(version)s")
def everfresh() -> None:
    """A cache that is kept fresh by events."""


@everfresh.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="0 picks a free one.")
@click.option(
    "--upstream-delay",
    type=click.FloatRange(0, 3600),
    callback=not_nan,
    default=1.5,
    show_default=True,
    metavar="S",
    help="Seconds that an answer of the issue tracker takes, give or take a third.",
)
@click.option("--autopilot/--no-autopilot", default=True, help="Change some issue every few seconds.  [default: yes]")
@click.option("--once", is_flag=True, help="Make one round trip without a browser, print its times, and exit.")
@click.option("--store", metavar="URL", help="The cache's store.  [default: a SQLite file, removed at the end]")
def demo(port: int, upstream_delay: float, store: str | None, *, autopilot: bool, once: bool) -> int:
    """Serve widgets over a slow issue tracker that stay fresh."""
    # Here, so that the other commands start without it.
    from everfresh.demo import DemoSettings, run, run_once  # noqa: PLC0415

    try:
        settings = DemoSettings(port=port, upstream_delay=upstream_delay, autopilot=autopilot, store=store)
        return run_once(settings) if once else run(settings)
    except ModuleNotFoundError as error:
        if (error.name or "everfresh").startswith("everfresh"):
            raise
        raise click.ClickException(
            f"the demo needs {error.name!r}. Install it: pip install 'everfresh[all]'"
        ) from error


everfresh.add_command(admin)
everfresh.add_command(processes.run)
everfresh.add_command(processes.worker)
everfresh.add_command(processes.consume)
everfresh.add_command(processes.web)
everfresh.add_command(record)
everfresh.add_command(tail)


@everfresh.command()
@click.argument("app")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say which entries they would rebuild, and why.")
@click.option("--json", "is_json", is_flag=True, help="Print what a dry run found as JSON.")
def replay(app: str, file: IO[bytes], *, is_dry: bool, is_json: bool) -> int:
    """Publish recorded messages to a cache, in order.

    APP names the cache as module:attribute, looked for in the current folder too. FILE has one JSON object a line
    (topic, body, id, headers), as `fedora-messaging record` writes them; - reads standard input. Lines that hold no
    message are reported and passed over, and the exit code is then 1.
    """
    if is_json and not is_dry:
        raise click.BadParameter("only a dry run is printed as JSON.", param_hint="--json")
    cache = opened(app)
    lines = read_lines(lines_of(file))
    if is_dry:
        found = dry_run(cache, lines, _Terminal())
        click.echo(found.json() if is_json else str(found))
        return 1 if found.tally.n_bad_lines else 0
    tally = publish(cache, lines, _Terminal())
    touched = count(len(tally.touched), "entry", "entries")
    click.echo(
        f"{count(tally.n_messages, 'message')} published, touching {touched}; {count(tally.n_bad_lines, 'bad line')}."
    )
    return 1 if tally.n_bad_lines else 0


everfresh.add_command(touches)
everfresh.add_command(quarantine)
everfresh.add_command(sources)
everfresh.add_command(doctor)


@everfresh.command()
@click.argument("app")
@click.option("--function", metavar="NAME", help="Only entries of this function: module.qualname@version.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only entries in this state.")
@click.option("--pattern", metavar="GLOB", help="Only keys that match, for example 'reviews:*'.")
def entries(app: str, function: str | None, state: str | None, pattern: str | None) -> int:
    """List what is in a cache, by key, and how much of it is built.

    APP names the cache as module:attribute, looked for in the current folder too.
    """
    with opened(app) as cache:
        coverage = _coverage(cache, function)
        listed = cache.blocking.entries(function, state, pattern)
    for entry in listed:
        why = f"  ({printable(entry.reason)})" if entry.reason else ""
        click.echo(f"{entry.state.value:<8}  {printable_key(entry.key)}{why}")
    click.echo(f"{count(len(listed), 'entry', 'entries')} listed; {coverage}.")
    return 0


def _coverage(cache: Cache, function: str | None) -> Coverage:
    """How much is built; a name of which nothing is known is a mistake."""
    why = f"{function!r}: no such function is declared, and nothing of it is stored."
    try:
        coverage = cache.blocking.coverage(function)
    except InvalidOption as error:
        why = str(error)
    else:
        if not function or coverage.n_known or function in cache.functions:
            return coverage
    names = ", ".join(sorted(cache.functions)) or "none"
    raise click.BadParameter(f"{printable(why)} Functions here: {names}.", param_hint="--function")


@everfresh.command()
@click.argument("app")
@click.argument("key")
def explain(app: str, key: str) -> int:
    """Say why an entry is fresh or not, what did and would touch it.

    APP names the cache as module:attribute, looked for in the current folder too. KEY is the entry's key, as it is or
    as `entries` lists it.
    """
    with opened(app) as cache:
        click.echo(str(_explained(cache, key)))
    return 0


def _explained(cache: Cache, key: str) -> Explanation:
    """What is known of the entry whose key is printed so, or is this text."""
    listed = key_printed(key)
    try:
        return cache.blocking.explain(listed)
    except NotInCache:
        if listed == key:
            raise
        return cache.blocking.explain(key)


class _Terminal:
    """What holds no message goes to standard error, the rest to standard output."""

    def bad_line(self, number: int, problem: str) -> None:
        click.echo(f"line {number}: {printable(problem)}", err=True)
