"""Is the old value served that a reader had read before the invalidation, and stored after it?

A reader misses, and has read the source; before it has stored what it read, a writer changes the source and calls the
documented invalidation. Then the reader goes on, and somebody asks afterwards. The order is forced by gates, and each
round has an item of its own. *Asked late* is what a reader gets who asks after the invalidation returned, while the old
build still runs. *Another process* invalidates a decorated function, or where there is none a value put by hand.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.races.scenario import PATIENCE_S, Beside, Caller, Cell, Source, judged, not_offered, opened, until

TITLE = "The stale-set race"
ROWS = {
    "function": "a decorated function",
    "function_tag": "a decorated function, by tag",
    "manual": "get, load and put by hand",
    "manual_tag": "the same, by tag",
    "process": "invalidated by another process",
    "late": "a decorated function, asked late",
}
# Gates force the order, so whoever runs beside it can only slow it down.
N_AT_ONCE = 2
_NAME = "item_of"
# Some lock what they drop while it is built: then the builder has to be let go first.
_BLOCKED_S = 0.5
_JOINS_S = 0.05


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """All rows."""
    n = 10 if is_quick else 50
    with opened(peer, place) as caller:
        return {
            "function": _function(caller, n),
            "function_tag": _function_tag(caller, n),
            "manual": _manual(caller, n),
            "manual_tag": _manual_tag(caller, n),
            "process": _process(caller, n, peer, place),
            "late": _late(caller, n // 2),
        }


def beside(caller: Caller) -> Callable[[Any], Any]:
    """The writer of another process."""
    return caller.readable(caller.body(Source(), _NAME), _NAME).drop


def _function(caller: Caller, n: int) -> Cell:
    if "function" not in caller.adapter.offers:
        return not_offered("no decorator")
    source = Source()
    function = caller.adapter.cached(caller.body(source, "called"))
    return _race(source, n, lambda item: lambda: caller.start(function, item), _dropping(caller, function))


def _function_tag(caller: Caller, n: int) -> Cell:
    if "tag_function" not in caller.adapter.offers:
        return not_offered("no tags there")
    source = Source()
    function = caller.adapter.cached(caller.body(source, "tagged"), tags=("item:{item}",))
    return _race(
        source,
        n,
        lambda item: lambda: caller.start(function, item),
        lambda item: caller(caller.adapter.invalidate_tag, f"item:{item}"),
    )


def _manual(caller: Caller, n: int) -> Cell:
    if "manual" not in caller.adapter.offers:
        return not_offered("no get and put")
    source = Source()
    load = caller.body(source, "loaded")

    def reader(item: int) -> Callable[[], "Future[int]"]:
        read = caller.aside(f"by hand {item}", load, item)
        return lambda: caller.start(read)

    return _race(source, n, reader, lambda item: caller(caller.adapter.delete, f"by hand {item}"))


def _manual_tag(caller: Caller, n: int) -> Cell:
    if not {"manual", "tag"} <= caller.adapter.offers:
        return not_offered("no tags there")
    source = Source()
    load = caller.body(source, "loaded_with_tag")

    def reader(item: int) -> Callable[[], "Future[int]"]:
        read = caller.aside(f"with a tag {item}", load, item, tags=(f"by hand:{item}",))
        return lambda: caller.start(read)

    return _race(source, n, reader, lambda item: caller(caller.adapter.invalidate_tag, f"by hand:{item}"))


def _process(caller: Caller, n: int, peer: ModuleType, place: dict[str, str]) -> Cell:
    if "processes" not in caller.adapter.offers:
        return not_offered("one process")
    source = Source()
    function = caller.readable(caller.body(source, _NAME), _NAME).function
    with Beside(peer, "stale_set", place) as other:
        return _race(source, n, lambda item: lambda: caller.start(function, item), other.ask)


def _late(caller: Caller, n: int) -> Cell:
    if "function" not in caller.adapter.offers:
        return not_offered("no decorator")
    source, n_stale = Source(), 0
    function = caller.adapter.cached(caller.body(source, "called_late"))
    with ThreadPoolExecutor(1) as writer:
        for item in range(n):
            gate = source.shut()
            reading = caller.start(function, item)
            gate.wait_until_reached()
            source.truths[item] = 1
            dropping = writer.submit(_dropping(caller, function), item)
            if not _is_done(dropping):
                gate.open()
                dropping.result(PATIENCE_S)
            n_read = source.n_reads
            late = caller.start(function, item)
            # It reads the source by itself, or it has joined the old build, which only time tells.
            with suppress(TimeoutError):
                until(partial(_has_read, source, n_read + 1), "its own build", _JOINS_S)
            gate.open()
            reading.result(PATIENCE_S)
            n_stale += late.result(PATIENCE_S) < 1
    return judged(n_stale, n)


def _has_read(source: Source, n_reads: int) -> bool:
    return source.n_reads >= n_reads


def _dropping(caller: Caller, function: Callable[..., Any]) -> Callable[[int], Any]:
    return lambda item: caller(caller.adapter.invalidate_call, function, item)


def _race(
    source: Source,
    n: int,
    reader: Callable[[int], Callable[[], "Future[int]"]],
    drop: Callable[[int], Any],
) -> Cell:
    """`n` rounds; `reader(item)` gives what starts a reading of it."""
    n_stale = 0
    with ThreadPoolExecutor(1) as writer:
        for item in range(n):
            read = reader(item)
            gate = source.shut()
            reading = read()
            gate.wait_until_reached()
            source.truths[item] = 1
            dropping = writer.submit(drop, item)
            _is_done(dropping)
            gate.open()
            dropping.result(PATIENCE_S)
            reading.result(PATIENCE_S)
            n_stale += read().result(PATIENCE_S) < 1
    return judged(n_stale, n)


def _is_done(dropping: "Future[Any]") -> bool:
    try:
        dropping.result(_BLOCKED_S)
    except NotYet:
        return False
    return True
