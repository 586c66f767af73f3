"""What it costs to compute a value for the first time, to put one, and to read one again that was just invalidated."""

from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any

from benchmarks.rows.session import Session

_N_KEYS = 1_000
_N_TAGS = 1_000
_MISS, _AGAIN = "a cold call", "invalidated and called again"


def main(peer: Any, **place: str) -> dict[str, Any]:
    """Measure all in one process."""
    session = Session(peer, **place, is_acknowledged=False)
    adapter, limit = session.adapter, session.limit
    timed, limits = {}, {}
    if session.needs(_MISS, "function"):
        function = session.cached("empty")
        session.done(function(-1))
        timed[_MISS] = session.timed_each(function, ((number,) for number in count()))
        limits[_MISS] = session.timed_each(limit.write, ((f"limit miss {number}", str(number)) for number in count()))
    if session.needs(_AGAIN, "function") and _invalidates(session):
        function = session.cached("small")
        timed[_AGAIN] = session.timed(session.both(adapter.invalidate_call, (function,), function), 5)
        limits[_AGAIN] = session.timed(limit.write, "limit again", "value 5")
    session.measure(timed, limits)
    for n_tags in (0, 3, 100):
        _puts(session, n_tags)
    return session.end()


def _invalidates(session: Session) -> bool:
    function = session.cached("member")
    session.done(function("again", 5))
    try:
        session.done(session.adapter.invalidate_call(function, "again", 5))
    except NotImplementedError:
        session.answer.empty[_AGAIN] = "offers no way to drop one call"
        return False
    return True


def _puts(session: Session, n_tags: int) -> None:
    name = f"put with {n_tags} tags"
    if not session.needs(name, "manual", *(["tag"] if n_tags else [])):
        return

    def put(key: str, value: str, tags: list[str]) -> Any:
        return session.adapter.put(key, value, tags=tags) if tags else session.adapter.put(key, value)

    try:
        session.done(put("first", "value", _tags(0, n_tags)))
    except NotImplementedError:
        session.answer.empty[name] = f"offers no put with {n_tags} tags"
        return
    session.measure(
        {name: session.timed_each(put, _arguments(name, n_tags))},
        {name: session.timed_each(session.limit.write, _arguments(f"limit {name}", n_tags))},
    )


def _arguments(name: str, n_tags: int) -> Iterator[tuple[str, str, list[str]]]:
    # Keys come again, as an application's do; tags stand on several of them.
    keys: Callable[[], Iterator[int]] = lambda: cycle(range(_N_KEYS))  # noqa: E731 - each wants its own
    prefix = "limit " if name.startswith("limit ") else ""
    tags_of = [[prefix + tag for tag in _tags(number, n_tags)] for number in range(_N_KEYS)]
    return ((f"{name} {number}", f"value {n}", tags_of[number]) for n, number in enumerate(keys()))


def _tags(number: int, n_tags: int) -> list[str]:
    return [f"tag {(number * 7 + k) % _N_TAGS}" for k in range(n_tags)]
