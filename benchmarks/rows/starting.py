"""What CPU time a process needs until it has imported the library, and until it has the first value of a function.

Each is a process of its own, from its start to its end; the limit is a Python that does nothing but the same imports of
the standard library. By the clock a process waits for its turn on a busy machine, which says nothing of the library.
"""

import json
import os
import resource
import subprocess
import sys
from typing import Any

from benchmarks.rows.session import Answer, Session
from benchmarks.rows.yardstick import YARDSTICK, yardstick_ns

_IMPORT, _FIRST = "import", "first value"
_BARE = "import asyncio, benchmarks.peers.adapter, benchmarks.rows.session, benchmarks.rows.values"


def main(peer: Any, *, n_loops: int = 2, **place: str) -> dict[str, Any]:
    """Start processes in turn."""
    name = peer.__name__
    answer = Answer()
    programs = {"limit": _BARE, _IMPORT: f"{_BARE}, {name}"}
    programs[_FIRST] = f"{_BARE}, {name}, benchmarks.rows.starting as s; s.first({name}, {json.dumps(place)!r})"
    times_ms: dict[str, list[float]] = {what: [] for what in programs}
    # An installed package has been compiled, a source tree perhaps not: here all of them were, by a start before.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{place['folder']}/compiled", "PYTHONDONTWRITEBYTECODE": ""}
    for loop in range(n_loops + 1):
        for what, program in programs.items():
            before_s = _children_s()
            command = [sys.executable, "-c", program]
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
            if loop:
                times_ms[what].append((_children_s() - before_s) * 1e3)
    bare_ms = min(times_ms["limit"])
    for what in (_IMPORT, _FIRST):
        answer.figures[what] = max(0.0, min(times_ms[what]) - bare_ms)
        answer.limits[what] = bare_ms
    answer.limits[YARDSTICK] = yardstick_ns()
    return {"figures": answer.figures, "limits": answer.limits, "empty": answer.empty, "notes": answer.notes}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first(peer: Any, place: str) -> None:
    """Open the store, decorate a function and call it."""
    session = Session(peer, **json.loads(place))
    if "function" in session.adapter.offers:
        session.done(session.cached("small")(5))
    session.end()
