"""Asking: what cannot be taken back is done only after somebody has said so."""

from __future__ import annotations

import sys

import click


def confirm(what: str, *, is_sure: bool) -> None:
    """Go on if whoever sits there says so, or has said so already.

    Raises:
        click.Abort: the answer is no.
        click.UsageError: nobody sits there.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what} There is no terminal to ask at. If that is wanted, give --yes.")
    click.confirm(f"{what} Go on?", abort=True)
