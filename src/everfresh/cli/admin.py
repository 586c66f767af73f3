"""What is done to a store by hand, while nobody uses it."""

from __future__ import annotations

import click

from everfresh.cache.printing import printable
from everfresh.cli.asking import confirm
from everfresh.model.errors import StoreUrlInvalid

_MAX_SHARDS = 256


@click.group()
def admin() -> None:
    """Look after a store."""


@admin.command()
@click.argument("url")
@click.option("--from", "n_before", type=click.IntRange(1, _MAX_SHARDS), required=True, help="How many shards it has.")
@click.option("--to", "n_after", type=click.IntRange(1, _MAX_SHARDS), required=True, help="How many it is to have.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
def reshard(url: str, n_before: int, n_after: int, *, is_sure: bool) -> int:
    """Divide a store on Redis into another number of shards.

    Stop every process that uses it first. The cache is empty afterwards, and all entries that have a function wait to
    be built by the workers; values that were put are gone. Then start the processes with shards=N in their URL.
    """
    try:
        # Who has no Redis needs no driver for it.
        from everfresh.stores.redis import SCHEMES, address_of  # noqa: PLC0415
        from everfresh.stores.redis.resharding import reshard as divide  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in {"redis", "hiredis"}:
            raise
        msg = "the driver for Redis is not installed. Install it: pip install 'everfresh[redis]'"
        raise click.ClickException(msg) from error
    if url.partition(":")[0] not in SCHEMES:
        raise _bad("only stores on Redis have shards. Use for example 'redis://host:6379/0'.")
    try:
        address = address_of(url)
    except StoreUrlInvalid as error:
        raise _bad(str(error)) from error
    confirm(f"All entries under {address.prefix!r} at {address} will be built anew.", is_sure=is_sure)
    done = divide(address, n_before, n_after)
    click.echo(
        f"{n_after} shards: {done.n_queued} entries wait to be built, {done.n_gone} put values are gone, "
        f"{done.n_keys} keys were removed."
    )
    return 0


def _bad(problem: str) -> click.BadParameter:
    return click.BadParameter(printable(problem), param_hint="URL")
