"""Opening: what a command line names, or an answer that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from everfresh.cache import Cache
from everfresh.cache.printing import printable
from everfresh.cli.apps import AppUnusable, cache_of, search_here
from everfresh.model.errors import InvalidOption, StoreUrlInvalid
from everfresh.sources.formats import format_of
from everfresh.sources.source import Format


def opened(app: str) -> Cache:
    """The cache that `module:attribute` names.

    Raises:
        click.BadParameter: there is none; the message says what to do.
        EverfreshError: it cannot be opened.
    """
    try:
        return cache_of(app)
    except AppUnusable as error:
        raise click.BadParameter(printable(str(error)), param_hint="APP") from error


def opened_by_app_or_url(name: str) -> Cache:
    """The cache that `module:attribute` names, or one on the store at a URL.

    Raises:
        click.BadParameter: there is none; a store in a file must be there already.
        EverfreshError: it cannot be opened.
    """
    # No module has a slash, and a URL that lacks one has another.
    if "/" not in name:
        return opened(name)
    # The formats of messages may be of the application's own.
    search_here()
    scheme, _, rest = name.partition("://")
    path = rest.removeprefix("/").partition("?")[0]
    if scheme == "sqlite" and path and not Path(path).exists():
        raise click.BadParameter(printable(f"there is no file {path!r}."), param_hint="URL")
    try:
        return Cache(name)
    except StoreUrlInvalid as error:
        raise click.BadParameter(printable(str(error)), param_hint="URL") from error


def format_called(name: str) -> Format:
    """The format of a name: one that is built in, or `module:attribute`, looked for in the current folder too.

    Raises:
        click.BadParameter: there is none.
    """
    search_here()
    try:
        return format_of(name)
    except InvalidOption as error:
        raise click.BadParameter(printable(str(error)), param_hint="--format") from error
