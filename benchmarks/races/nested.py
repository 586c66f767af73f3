"""A part of a page is invalidated: is the page stale that was built from it?

A cached function calls another cached function. What the inner one shows changes, and the inner one is invalidated in
the documented way; nobody says a word of the outer one. *While the outer is built* it has called the inner one and is
not finished when the inner one is invalidated. *Three deep* there is one more between the two. Of these libraries only
Everfresh promises anything here.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from benchmarks.races.scenario import PATIENCE_S, Caller, Cell, Gate, Source, judged, named, not_offered, opened

TITLE = "Nested functions"
ROWS = {
    "stored": "the outer is stored",
    "deep": "three deep",
    "building": "while the outer is built",
}
# Gates force the order, so whoever runs beside it can only slow it down.
N_AT_ONCE = 2


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """All rows."""
    n = 5 if is_quick else 50
    with opened(peer, place) as caller:
        if "function" not in caller.adapter.offers:
            return dict.fromkeys(ROWS, not_offered("no decorator"))
        return {"stored": _stored(caller, n), "deep": _deep(caller, n), "building": _building(caller, n)}


def _stored(caller: Caller, n: int) -> Cell:
    source = Source()
    inner = caller.adapter.cached(caller.body(source, "inner"))
    outer = caller.adapter.cached(_around(caller, inner, "outer", _Gates()))
    return _invalidate_all(caller, source, inner, outer, n)


def _deep(caller: Caller, n: int) -> Cell:
    source = Source()
    inner = caller.adapter.cached(caller.body(source, "innermost"))
    middle = caller.adapter.cached(_around(caller, inner, "middle", _Gates()))
    outer = caller.adapter.cached(_around(caller, middle, "outermost", _Gates()))
    return _invalidate_all(caller, source, inner, outer, n)


def _invalidate_all(
    caller: Caller, source: Source, inner: Callable[..., Any], outer: Callable[..., Any], n: int
) -> Cell:
    n_stale = 0
    for item in range(n):
        caller(outer, item)
        source.truths[item] = 1
        caller(caller.adapter.invalidate_call, inner, item)
        n_stale += caller(outer, item) < 1
    return judged(n_stale, n)


def _building(caller: Caller, n: int) -> Cell:
    source, gates, n_stale = Source(), _Gates(), 0
    inner = caller.adapter.cached(caller.body(source, "inner_then"))
    outer = caller.adapter.cached(_around(caller, inner, "outer_then", gates))
    with ThreadPoolExecutor(1) as writer:
        for item in range(n):
            gates.now = Gate()
            reading = caller.start(outer, item)
            gates.now.wait_until_reached()
            source.truths[item] = 1
            writer.submit(caller, caller.adapter.invalidate_call, inner, item).result(PATIENCE_S)
            gates.now.open()
            reading.result(PATIENCE_S)
            n_stale += caller(outer, item) < 1
    return judged(n_stale, n)


class _Gates:
    """The gate that the outer one stops at."""

    def __init__(self) -> None:
        self.now = Gate(is_open=True)


def _around(caller: Caller, inner: Callable[..., Any], name: str, gates: _Gates) -> Callable[..., Any]:
    def outer(item: int) -> int:
        found: int = inner(item)
        gates.now.stop()
        return found

    async def outer_async(item: int) -> int:
        found: int = await inner(item)
        await gates.now.astop()
        return found

    return named(outer_async if caller.adapter.is_async else outer, name)
