"""What a hit costs: of a decorated function, by key, and of a hundred keys at once."""

from typing import Any

from benchmarks.rows.session import Session
from benchmarks.rows.values import N_BYTES_OF, text

# What is looked up should not be alone.
_N_OTHERS = 200
_N_MANY = 100
_BY_KEY, _MANY, _MANY_CALLS = "by key", "100 keys at once", "100 calls at once"


def main(peer: Any, **place: str) -> dict[str, Any]:
    """Measure all sizes in one process."""
    # Some take a lock at each hit where they are told to compute a value once: not here, where nobody computes.
    session = Session(peer, **place, is_locked=False)
    adapter, limit = session.adapter, session.limit
    kinds = [*N_BYTES_OF, *(f"{size}, mutable" for size in N_BYTES_OF)]
    timed = {kind: timed_call(session, kind) for kind in kinds if session.needs(kind, "function")}
    for size, n_bytes in N_BYTES_OF.items():
        session.done(limit.write(f"limit {size}", text(5, n_bytes)))
    limits = {kind: session.timed(limit.read, f"limit {kind.partition(',')[0]}") for kind in timed}
    keys = [f"key {number}" for number in range(_N_MANY)]
    # The limit's own may stand in the same Redis.
    limit_keys = [f"limit {key}" for key in keys]
    for key in limit_keys:
        session.done(limit.write(key, f"value of {key}"))
    if session.needs(_BY_KEY, "manual"):
        for key in keys:
            session.done(adapter.put(key, f"value of {key}"))
        timed[_BY_KEY] = session.timed(adapter.get, keys[5])
        limits[_BY_KEY] = session.timed(limit.read, limit_keys[5])
    if session.needs(_MANY, "manual", "many"):
        timed[_MANY] = session.timed(adapter.get_many, keys)
        limits[_MANY] = session.timed(limit.read_many, limit_keys)
    if session.needs(_MANY_CALLS, "many_function"):
        arguments = list(range(_N_MANY))
        function = session.cached("empty")
        if session.done(adapter.call_many(function, arguments)) != arguments:
            raise ValueError("many calls gave other values than one")
        timed[_MANY_CALLS] = session.timed(adapter.call_many, function, arguments)
        limits[_MANY_CALLS] = session.timed(limit.read_many, limit_keys)
    session.measure(timed, limits)
    return session.end()


def timed_call(session: Session, kind: str) -> Any:
    """The call of a decorated function whose value is there."""
    function = session.cached(kind)
    # Some keep a value at its second call only.
    first, second = session.done(function(5)), session.done(function(5))
    if first != second:
        raise ValueError(f"{kind}: two calls gave different values")
    if kind == "small":
        session.once_s(function, [(1_000 + number,) for number in range(_N_OTHERS)])
    if kind == "small, mutable":
        # Then a caller who changes it changes what all others get.
        session.answer.notes["shares"] = session.done(function(5)) is session.done(function(5))
    return session.timed(function, 5)
