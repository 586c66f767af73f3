"""What it costs to say that something changed which 1, 100 or 10,000 values were made of, and to read them again.

Some drop each value at once; others only note that the tag is newer, and find out at the next read. So both are
measured: until the call is back, and until a hundred values have been read again.
"""

from typing import Any

from benchmarks.peers.adapter import MISSING
from benchmarks.rows.session import Session, median_ns
from benchmarks.rows.values import CALLED

# How many groups of each size; the median of them is one round.
_N_GROUPS_OF = {1: 20, 100: 3, 10_000: 1}
_AGAIN = "100 entries, and read again"


def main(peer: Any, *, n_most: int = 10_000, **place: str) -> dict[str, Any]:
    """Measure the sizes one after the other, the limit beside each."""
    # Some can wait until each process has heard of it, which no other promises: not here.
    session = Session(peer, **place, is_acknowledged=False)
    offers = session.adapter.offers
    if not offers & {"tag", "tag_function"}:
        names = [*map(_name, _N_GROUPS_OF), _AGAIN]
        session.answer.empty.update(dict.fromkeys(names, "offers no tags"))
        return session.end()
    for n, n_groups in _N_GROUPS_OF.items():
        if n <= n_most:
            _size(session, _name(n), n, n_groups)
    if session.needs(_AGAIN, "tag_function"):
        _size(session, _AGAIN, 100, 3)
    return session.end()


def _name(n: int) -> str:
    return f"{n:,} entries" if n > 1 else "1 entry"


def _size(session: Session, name: str, n: int, n_groups: int) -> None:
    groups = [f"{name} {number}" for number in range(n_groups)]
    every = [(group, number) for group in groups for number in range(n)]
    fill, read = _fill_and_read(session, is_called=name == _AGAIN)
    session.once_s(fill, every)
    session.once_s(session.limit.write, [_written(*call) for call in every])
    times_s: list[float] = []
    limits_s: list[float] = []
    for group in groups:
        again = [(group, number) for number in range(n)] if name == _AGAIN else []
        limit_s = session.once_s(session.limit.drop, [(f"limit {group}",)])
        limits_s.append(limit_s + session.once_s(session.limit.write, [_written(*call) for call in again]))
        took_s = session.once_s(session.adapter.invalidate_tag, [(group,)])
        times_s.append(took_s + session.once_s(read, again))
    if name != _AGAIN and not _is_gone(session, read, groups[-1]):
        session.answer.empty[name] = "the old values were still served"
        return
    session.answer.figures[name] = median_ns(times_s)
    session.answer.limits[name] = median_ns(limits_s)


def _fill_and_read(session: Session, *, is_called: bool) -> tuple[Any, Any]:
    if is_called or "tag" not in session.adapter.offers:
        function = session.cached("member", tags=("{group}",))
        return function, function

    def put(group: str, number: int) -> Any:
        return session.adapter.put(f"{group} {number}", "x", tags=[group])

    def get(group: str, number: int) -> Any:
        return session.adapter.get(f"{group} {number}")

    return put, get


def _written(group: str, number: int) -> tuple[str, str, list[str]]:
    return f"limit {group} {number}", "x", [f"limit {group}"]


def _is_gone(session: Session, read: Any, group: str) -> bool:
    """Whether a read computes, or finds nothing: what was not dropped would make the figure worthless."""
    n_before = len(CALLED)
    return session.done(read(group, 0)) is MISSING or len(CALLED) > n_before
