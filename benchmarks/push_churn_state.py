"""What both processes of benchmarks/push_churn.py know: the topics, who asks, and what the server says of itself."""

import time

import msgspec

N_NUMBERS = 40
N_BUILT = 10
N_USERS = 60
# A room is there for so many times as long as it takes for the next one to come.
N_ROOMS = 10
_ROOM_S = 2.0
KEY = {"churn": "c" * 64}


class State(msgspec.Struct):
    """What the server holds: memory in bytes, and how many of what; `objects` by type, `sizes` of its collections."""

    at: float
    rss: int
    pss: int
    uss: int
    n_blocks: int
    n_objects: int
    n_tasks: int
    n_files: int
    n_streams: int
    cpu_s: float
    objects: dict[str, int]
    sizes: dict[str, int]


def room_now() -> int:
    """The room that is new just now; the clock is that of the machine, so both know."""
    return int(time.monotonic() / _ROOM_S)
