"""Naming sources: the sources that a command line names, by URLs or as objects of a module."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import click

from everfresh.cache.printing import printable
from everfresh.cli.apps import AppUnusable, found_in
from everfresh.cli.opening import format_called
from everfresh.model.errors import InvalidOption
from everfresh.sources.canary import Canary
from everfresh.sources.consuming import Consumer
from everfresh.sources.source import Adapter
from everfresh.sources.urls import source_of


def consumers_of(names: Sequence[str], format_name: str | None, canary: timedelta | None) -> tuple[Consumer, ...]:
    """The sources that are named; format and canary are for those that do not say so themselves.

    Raises:
        click.BadParameter: one of them is none, or two have one name.
    """
    found = tuple(_consumer(name, format_name, canary) for name in names)
    called = [source.name for source in found]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise _bad(f"{', '.join(twice)}: twice. Each source needs a name of its own.")
    return found


def adapter_of(name: str, format_name: str | None = None, *, hint: str = "--source") -> Adapter:
    """The source of a URL or of `module:attribute`, without how it is consumed.

    Raises:
        click.BadParameter: it names none.
    """
    found = _found(name, format_name, hint)
    return found.adapter if isinstance(found, Consumer) else found


def _consumer(name: str, format_name: str | None, canary: timedelta | None) -> Consumer:
    found = _found(name, format_name, "--source")
    if isinstance(found, Consumer):
        return found
    try:
        return Consumer(found, canary=None if canary is None else Canary(every=canary))
    except InvalidOption as error:
        raise click.BadParameter(printable(str(error)), param_hint="--canary") from error


def _found(name: str, format_name: str | None, hint: str) -> Adapter | Consumer:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise _bad("this is no text. Write it in UTF-8.", hint) from error
    # No module has a slash, and a URL that lacks one has another.
    if "/" in name:
        reading = "auto" if format_name is None else format_called(format_name)
        try:
            return source_of(name, format=reading)
        except InvalidOption as error:
            raise _bad(str(error), hint) from error
    try:
        found = found_in(name, what="source", example="shop.sources:bus, or a URL such as amqp://host/vhost?queue=shop")
    except AppUnusable as error:
        raise _bad(str(error), hint) from error
    if isinstance(found, Consumer):
        return found
    if not all(hasattr(found, part) for part in ("name", "delivers", "format", "open")):
        raise _bad(f"{name!r} is a {type(found).__name__}, and no source.", hint)
    return cast("Adapter", found)


def _bad(problem: str, hint: str = "--source") -> click.BadParameter:
    return click.BadParameter(printable(problem), param_hint=hint)
