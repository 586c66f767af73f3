"""`everfresh tail`: what becomes of entries, a line for each change, until somebody ends it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import click
import msgspec

from everfresh.cache import Sight
from everfresh.cache.printing import printable, printable_key
from everfresh.cli.opening import opened_by_app_or_url
from everfresh.model.entry import Entry

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A line of a terminal or two; `--json` gives all of it.
_N_SHOWN = 160
_NOT_SHARED = "nobody else sees what is in memory. Name a cache on a store that processes share: sqlite: or redis:"


@click.command()
@click.argument("app", metavar="APP")
@click.argument("pattern", default="*")
@click.option("--json", "is_json", is_flag=True, help="Print each change as one JSON object.")
@click.option("--all", "is_all", is_flag=True, help="Begin with the entries that are there.")
@click.option("--no-values", "has_no_values", is_flag=True, help="Leave the values out.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many lines.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="End after so many seconds.")
def tail(  # noqa: PLR0913 - what, how, and how much of it
    app: str,
    pattern: str,
    *,
    is_json: bool,
    is_all: bool,
    has_no_values: bool,
    limit: int | None,
    seconds: float | None,
) -> int:
    """Print each change of entries whose keys match, until SIGINT.

    APP names the cache as module:attribute, looked for in the current folder too, or is the URL of its store. PATTERN
    is as for the names of files, for example 'reviews:*'; without one it is all entries. A line has the time, the
    state, the version, the key, and the value if it is new. Nothing is built for it, nor kept.
    """
    cache = opened_by_app_or_url(app)
    with cache:
        if not cache.engine.store.is_shared:
            raise click.BadParameter(_NOT_SHARED, param_hint="APP")
        tailing = _Tailing(is_json=is_json, has_values=not has_no_values, limit=limit)
        # Whoever reads along may have had enough; what was not written then is given up as any command's is.
        with suppress(BrokenPipeError):
            asyncio.run(tailing.run(cache.watch(pattern=pattern, from_now=not is_all), seconds))
    return 0


@dataclass
class _Tailing:
    """Prints what is seen."""

    is_json: bool
    has_values: bool
    limit: int | None
    n_printed: int = 0

    async def run(self, sights: AsyncGenerator[Sight, None], seconds: float | None) -> None:
        """Print until a signal, the limit, or so many seconds."""
        printing = asyncio.create_task(self._print(sights))
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, printing.cancel)
        await asyncio.wait({printing}, timeout=seconds)
        printing.cancel()
        with suppress(asyncio.CancelledError):
            await printing

    async def _print(self, sights: AsyncGenerator[Sight, None]) -> None:
        async with aclosing(sights):
            async for sight in sights:
                click.echo(self._line_of(sight))
                self.n_printed += 1
                if self.n_printed == self.limit:
                    return

    def _line_of(self, sight: Sight) -> str:
        entry = sight.entry
        fields: dict[str, object] = {"time": _clock(), "state": "dropped", "key": sight.key}
        if entry is not None:
            fields |= {"state": entry.state.value, "version": entry.version, "digest": entry.digest}
            fields |= (
                {"built_at": entry.built_at, "reason": entry.reason} if entry.reason else {"built_at": entry.built_at}
            )
            if sight.is_value_new and self.has_values and not entry.is_error:
                fields["value"] = msgspec.Raw(_value_of(entry))
        if self.is_json:
            return msgspec.json.encode(fields).decode()
        version = "" if entry is None else f"v{entry.version}"
        said = _said(fields)
        return f"{fields['time']}  {fields['state']:<8}  {version:<4}  {printable_key(sight.key)}{said}"


def _value_of(entry: Entry) -> bytes:
    try:
        return msgspec.json.encode(msgspec.msgpack.decode(entry.value))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        # Keys of a dict that JSON does not have, say.
        return msgspec.json.encode(f"no JSON: {error}")


def _said(fields: dict[str, object]) -> str:
    value = fields.get("value")
    text = bytes(value).decode() if isinstance(value, msgspec.Raw) else ""
    shown = text if len(text) <= _N_SHOWN else f"{text[:_N_SHOWN]}..."
    why = f"({fields['reason']})" if "reason" in fields else ""
    return "".join(f"  {printable(part)}" for part in (shown, why) if part)


def _clock() -> str:
    now = time.time()
    return time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
