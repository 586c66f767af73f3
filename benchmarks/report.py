"""Report: what was measured, where, and whether it holds; printed as it comes, and kept for a file."""

import json
import os
import platform
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.timing import Rounds

_PACKAGES = ("everfresh", "msgspec", "cachetools", "diskcache", "redis", "hiredis")


@dataclass
class Report:
    """Collects results; `is_full` asks for the sizes that take minutes."""

    is_full: bool = False
    raw: dict[str, Any] = field(default_factory=dict[str, Any])
    bars: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    def machine(self) -> None:
        """Say what this runs on: figures of two machines cannot be compared, their ratios nearly can."""
        facts = {
            "cpu": _cpu(),
            "n_cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "sqlite": sqlite3.sqlite_version,
            **{name: version(name) for name in _PACKAGES},
        }
        self.raw["machine"] = facts
        print(", ".join(f"{name} {fact}" for name, fact in facts.items()))

    def rounds(self, title: str, results: Mapping[str, Rounds], limit: str) -> None:
        """Print each candidate's median, its middle half, and its ratio to the limit."""
        print(f"\n{title}")
        width = max(map(len, results))
        for name, rounds in results.items():
            low, high = rounds.spread_ns
            ratio = rounds.ratio_to(results[limit])
            line = f"  {name:<{width}} {rounds.median_ns:>10,.0f} ns  ({low:>9,.0f} to {high:>9,.0f})"
            print(f"{line}  {ratio:>7.2f} x {limit}")
        self.raw[title] = {name: rounds.times_ns for name, rounds in results.items()}

    def figure(self, name: str, figure: float, unit: str) -> None:
        """Print a figure that has no bar."""
        self.raw[name] = figure
        print(f"  {name}: {figure:,.2f} {unit}" if figure < 100 else f"  {name}: {figure:,.0f} {unit}")

    def at_most(self, name: str, figure: float, most: float, unit: str) -> None:
        """Hold a figure to an upper bar."""
        self._bar(name, figure, f"at most {most:,.10g}", unit, is_held=figure <= most)

    def at_least(self, name: str, figure: float, least: float, unit: str) -> None:
        """Hold a figure to a lower bar."""
        self._bar(name, figure, f"at least {least:,.10g}", unit, is_held=figure >= least)

    def skip(self, name: str, why: str) -> None:
        """Say that a benchmark was not run: no bar of it holds, and none fails."""
        self.skipped[name] = why
        print(f"\nSKIP  {name}: {why}")

    def end(self, path: Path | None) -> int:
        """Print all bars once more, write the file; the exit code says whether all of them held."""
        print("\nBars")
        for bar in self.bars:
            print(f"  {_line(bar)}")
        for name, why in self.skipped.items():
            print(f"  SKIP  {name}: {why}")
        if path is not None:
            path.write_text(json.dumps({"bars": self.bars, "skipped": self.skipped, **self.raw}, indent=1))
        return 0 if all(bar["is_held"] for bar in self.bars) else 1

    def _bar(self, name: str, figure: float, bar: str, unit: str, *, is_held: bool) -> None:
        self.bars.append({"name": name, "figure": figure, "bar": bar, "unit": unit, "is_held": is_held})
        print(f"  {_line(self.bars[-1])}")
        sys.stdout.flush()


def _line(bar: Mapping[str, Any]) -> str:
    figure = bar["figure"]
    shown = f"{figure:,.2f}" if isinstance(figure, float) and figure < 100 else f"{figure:,.0f}"
    return f"{'PASS' if bar['is_held'] else 'FAIL'}  {bar['name']}: {shown} {bar['unit']}, {bar['bar']}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
