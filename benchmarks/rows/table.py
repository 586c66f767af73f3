"""The rows: what is measured, in which unit, how often, and what stands beside it as the limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DICT, _SQLITE, _REDIS = "memory", "files", "redis"


@dataclass(frozen=True)
class Work:
    """Figures that one process measures together."""

    name: str
    """The module of `benchmarks.rows` that measures them."""
    title: str
    figures: tuple[str, ...]
    unit: str
    """ns, ms, bytes, or /s; of the last more is better."""
    limits: Mapping[str, str]
    """By store, what the limit is."""
    words: str = ""
    """What a reader should know to read the table."""
    ranked: tuple[str, ...] = ()
    """Of the figures, those in which columns are compared; all when there are none."""
    n_rounds: int = 5
    """Processes of each column, in turn with those of all others."""
    is_of_peers: bool = True
    """Whether peers are asked too: only where they have something of the kind."""
    stores: tuple[str, ...] = (_DICT, _SQLITE, _REDIS)
    quick_options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def compared(self) -> tuple[str, ...]:
        """The figures in which columns are compared."""
        return self.ranked or self.figures


WORKS: tuple[Work, ...] = (
    Work(
        name="hits",
        title="Hits",
        figures=(
            "small",
            "small, mutable",
            "10 KiB",
            "10 KiB, mutable",
            "1 MiB",
            "1 MiB, mutable",
            "by key",
            "100 calls at once",
            "100 keys at once",
        ),
        unit="ns",
        limits={
            _DICT: "`dict.get`, in an event loop a bare `await` of it",
            _SQLITE: "a `SELECT` by key of a text as long, by the standard library",
            _REDIS: "a `GET` of a text as long, by a bare socket, in an event loop by asyncio's streams",
        },
        words="A call of a decorated function whose value is there: a text, or a list of rows (*mutable*). Libraries "
        "marked † hand out the very object that they keep: whoever changes what he got changes what all others get. "
        "*By key* is the same by `get`. The limit of a hundred is one look-up of a hundred.",
    ),
    Work(
        name="writes",
        title="Misses and puts",
        figures=(
            "a cold call",
            "invalidated and called again",
            "put with 0 tags",
            "put with 3 tags",
            "put with 100 tags",
        ),
        unit="ns",
        limits={
            _DICT: "one `dict` assignment, and one `set.add` for each tag",
            _SQLITE: "an `INSERT OR REPLACE`, and one more for each tag, in one transaction",
            _REDIS: "a `SET`, and an `SADD` for each tag, in one packet",
        },
        words="The function does nothing, so what is measured is all that surrounds it. A put is one of 1,000 keys, "
        "again and again.",
    ),
    Work(
        name="invalidation",
        title="Invalidation",
        figures=("1 entry", "100 entries", "10,000 entries", "100 entries, and read again"),
        unit="ns",
        n_rounds=3,
        quick_options={"n_most": 100},
        limits={
            _DICT: "popping each key of a tag's set",
            _SQLITE: "two `DELETE`s by an index, in one transaction",
            _REDIS: "`SMEMBERS` and one `UNLINK`",
        },
        words="One tag that so many values have. Who only notes that the tag is newer is done at once, and finds out "
        "at the next read: so the last column counts the reads too. The limit builds nothing anew, and promises "
        "nothing to who is building meanwhile.",
    ),
    Work(
        name="readers",
        title="Forty readers and one mutator",
        figures=("calls/s", "changes/s", "stale calls"),
        ranked=("calls/s",),
        unit="/s",
        n_rounds=3,
        limits=dict.fromkeys((_DICT, _SQLITE, _REDIS), "the same loops over a plain function, nothing dropped"),
        words="In one thread or event loop, over 1,000 values; the mutator changes one every 10 ms and drops it. "
        "Calls are worth nothing if they are stale, or if the mutator hardly comes to write.",
    ),
    Work(
        name="memory",
        title="Bytes for an entry",
        figures=("with 0 tags", "with 3 tags"),
        unit="bytes",
        n_rounds=2,
        limits={
            _DICT: "a `dict`, and a `set` for each tag",
            _SQLITE: "a table, and one for the tags",
            _REDIS: "plain keys, and a set for each tag",
        },
        words="Key and value of about 115 bytes are counted with it. Of memory, what the process grows by.",
    ),
    Work(
        name="starting",
        title="Import and cold start",
        figures=("import", "first value"),
        unit="ms",
        n_rounds=3,
        quick_options={"n_loops": 1},
        limits=dict.fromkeys(
            (_DICT, _SQLITE, _REDIS), "the CPU time of a Python process that imports asyncio and ends"
        ),
        words="CPU time that is added to that: by importing the library as the adapter does, and by opening the store "
        "and calling a decorated function once. Django's is with its settings and its table.",
    ),
    Work(
        name="triage",
        title="An event among many entries",
        figures=("1,000 entries", "10,000 entries", "100,000 entries", "1,000,000 entries"),
        unit="ns",
        n_rounds=1,
        quick_options={"n_most": 10_000},
        is_of_peers=False,
        stores=(_DICT,),
        limits={_DICT: "a loop that asks one predicate for each entry, and does nothing else"},
        words="One event that touches one entry, with all that it does: triage, mark, queue, feed. No peer finds "
        "entries by what an event says. Here the limit is what it is spared.",
    ),
    Work(
        name="refreshes",
        title="Refreshes",
        figures=("refreshes/s",),
        unit="/s",
        n_rounds=3,
        is_of_peers=False,
        limits=dict.fromkeys((_DICT, _SQLITE, _REDIS), "as many bare tasks, 64 at once"),
        words="What one worker builds anew after events, by a function that does nothing. No peer builds anew by "
        "events; some do by time.",
    ),
)


def work_of(name: str) -> Work:
    """The row of that name."""
    return next(work for work in WORKS if work.name == name)
