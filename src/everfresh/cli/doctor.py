"""`everfresh doctor`: how a cache, its store, its sources and what depends on them stand, and what to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

import click
import msgspec

from everfresh.cache import Cache
from everfresh.cache.printing import printable
from everfresh.cache.secrets import told_of
from everfresh.cli.diagnosing import Finding, Known, Verdict, findings_of, worst_of
from everfresh.cli.logs import ShortLines
from everfresh.cli.opening import opened
from everfresh.cli.words import count
from everfresh.model.entry import State
from everfresh.model.errors import StoreError
from everfresh.model.marks import override
from everfresh.protocol.inspecting import ListEntries

# What a store that does not answer may take: whoever asks waits for it.
_ANSWER_S = 10.0
_WAITING = (State.DIRTY, State.SUSPECT)


@click.command()
@click.argument("app")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def doctor(app: str, *, is_json: bool) -> int:
    """Say how a cache and its sources stand, and what to do.

    Looked at are its store, its functions, what waits to be built, and the sources with what nobody of them delivers.
    APP names the cache as module:attribute, looked for in the current folder too. Import all that declares cached
    functions in that module. Nothing is changed. The exit code is 1 when something is a problem; warnings are none.
    """
    with _warnings_logged() as warnings:
        cache = opened(app)
        findings = asyncio.run(_examined(cache, warnings))
    verdict = worst_of(findings)
    if is_json:
        click.echo(msgspec.json.encode({"verdict": verdict, "findings": findings}))
    else:
        click.echo("\n".join([*_table(findings), _sum(findings)]))
    return 1 if verdict is Verdict.PROBLEM else 0


async def _examined(cache: Cache, warnings: list[str]) -> list[Finding]:
    async with cache:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return findings_of(await _known(cache, warnings))
        except TimeoutError:
            problem = f"no answer within {_ANSWER_S:g} s"
        except StoreError as error:
            problem = told_of(error)
    return [Finding("store", Verdict.PROBLEM, problem, "start the store, or mend its address")]


async def _known(cache: Cache, warnings: list[str]) -> Known:
    asked_at = time.monotonic()
    await cache.position()
    answer_s = time.monotonic() - asked_at
    await cache.sources.learn()
    sources = await cache.sources.read()
    coverage = await cache.coverage()
    n_of = coverage.n_by_state
    # A page of them says enough of how late they are.
    waiting = [
        entry for state in _WAITING for entry in await cache.engine.store.carry_out_async(ListEntries(state=state))
    ]
    specs = cache.engine.functions
    return Known(
        sources=sources,
        functions_of=cache.sources.functions_of(),
        predicates=[name for name, spec in specs.items() if spec.should_refresh is not None],
        n_functions=len(specs),
        n_failed=n_of.get(State.FAILED, 0),
        n_waiting=sum(n_of.get(state, 0) for state in _WAITING),
        late_s=max((sources.now - entry.due for entry in waiting if entry.due is not None), default=0.0),
        answer_s=answer_s,
        warnings=list(warnings),
    )


def _table(findings: Iterable[Finding]) -> Iterator[str]:
    for one in findings:
        yield f"{one.verdict.value:<8} {printable(one.about)}: {printable(one.text)}"
        if one.todo:
            yield f"         -> {printable(one.todo)}"


def _sum(findings: Iterable[Finding]) -> str:
    verdicts = [one.verdict for one in findings]
    n_problems, n_warnings = verdicts.count(Verdict.PROBLEM), verdicts.count(Verdict.WARNING)
    return f"{count(n_problems, 'problem')}, {count(n_warnings, 'warning')}."


class _Kept(logging.Handler):
    """Keeps the text of each warning once."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(ShortLines())
        self._texts = texts

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if text not in self._texts:
            self._texts.append(text)


@contextmanager
def _warnings_logged() -> Generator[list[str]]:
    """What is logged as a warning while the block runs, the store's own about its server among it."""
    texts: list[str] = []
    handler = _Kept(texts)
    logger = logging.getLogger("everfresh")
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
