"""How many events a second are triaged and applied, one touched entry each.

Each round publishes one event for each of 1,000 entries while all are fresh, and once more while all are dirty: the
first writes states, fired marks, the queue and the feed, the second finds the news to be old.
"""

import statistics
import tempfile
from pathlib import Path

from benchmarks.report import Report
from benchmarks.touching import Touching

_N_TOUCHED = 1_000
_N_ROUNDS = 7
# Events of one publish are one step of the store, so that a batch costs one transaction.
_BATCHES = {"memory": (1, 1_000), "SQLite": (1, 500, 1_000)}
# By the smallest batch to which the bar applies.
_BARS = {"memory": (1, 50_000), "SQLite": (500, 10_000)}


def main(report: Report) -> None:
    """Measure and print."""
    print("\nTriage, events a second, one touched entry each")
    with tempfile.TemporaryDirectory() as folder:
        for kind, url in {"memory": "memory:", "SQLite": f"sqlite:///{Path(folder) / 'cache.db'}"}.items():
            touching = Touching(url, _N_TOUCHED, _N_TOUCHED)
            rounds: dict[str, list[float]] = {}
            for _ in range(_N_ROUNDS):
                for n_at_once in _BATCHES[kind]:
                    rounds.setdefault(f"{kind}, {n_at_once} at once, fresh entries", []).append(
                        touching.touch(n_at_once)
                    )
                    rounds.setdefault(f"{kind}, {n_at_once} at once, dirty entries", []).append(
                        touching.touch(n_at_once)
                    )
                    touching.freshen()
            touching.cache.close()
            _judge(report, kind, rounds)


def _judge(report: Report, kind: str, rounds: dict[str, list[float]]) -> None:
    first, least = _BARS[kind]
    for name, times_s in rounds.items():
        report.raw[f"triage: {name}"] = times_s
        rate = 1 / statistics.median(times_s)
        low, high = 1 / max(times_s), 1 / min(times_s)
        print(f"  {name:<42} {rate:>9,.0f}/s  ({low:>9,.0f} to {high:>9,.0f})")
        if int(name.split(", ")[1].split()[0]) >= first:
            report.at_least(f"triage, {name}", rate, least, "events/s")
