"""Parameters: values of a command line that Python has as something else than text, or that not every number is."""

from __future__ import annotations

import re
from datetime import timedelta
from math import isnan

import click

from everfresh.cli.listening import Address

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def address(text: str) -> Address:
    """Where to listen; a type of options.

    Raises:
        click.BadParameter: it is no address.
    """
    try:
        return Address.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def duration(text: str) -> timedelta:
    """Seconds, or a number with ms, s, m, h or d; a type of options.

    Raises:
        click.BadParameter: it is no duration, or longer than any that Python has.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration. Write 30s, 5m or 1h.")
    try:
        return timedelta(seconds=float(found[1]) * _UNITS_S[found[2] or ""])
    except OverflowError as error:
        raise click.BadParameter(f"{text!r} is too long. Write 30s, 5m or 1h.") from error


def not_nan(_context: click.Context, _option: click.Parameter, seconds: float | None) -> float | None:
    """The same, if it is a number; a callback of options.

    Raises:
        click.BadParameter: it is none, which no range refuses.
    """
    if seconds is not None and isnan(seconds):
        raise click.BadParameter("nan is no number of seconds.")
    return seconds
