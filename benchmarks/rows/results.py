"""Results: every round of every figure, with machine and versions; committed as data, of which pages are made."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "docs" / "results" / "bench.json"


@dataclass
class Cells:
    """What one column measured of one work, a number for each round."""

    figures: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    limits: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    empty: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Column:
    """A peer of one colour, as it was measured."""

    name: str
    package: str
    version: str
    store: str
    is_async: bool
    options: str
    lacks: str
    invalidates: str
    shares: bool = False
    """Whether callers get the very object that is kept."""

    @property
    def is_ours(self) -> bool:
        """Whether it is Everfresh."""
        return self.package == "everfresh"

    @property
    def hears(self) -> bool:
        """Whether it drops values by event or tag, so that it does the same job."""
        return "event" in self.invalidates or "tag" in self.invalidates


@dataclass
class Results:
    """One run."""

    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    columns: dict[str, Column] = field(default_factory=dict[str, Column])
    works: dict[str, dict[str, Cells]] = field(default_factory=dict[str, dict[str, Cells]])
    bars: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    def cells(self, work: str, module: str) -> Cells:
        """Where the rounds of that work and column stand."""
        return self.works.setdefault(work, {}).setdefault(module, Cells())

    def add(self, work: str, module: str, answer: Mapping[str, Any]) -> None:
        """Take what a process answered as one more round, or as several where it gives a list of them."""
        cells = self.cells(work, module)
        for given, rounds in ((answer["figures"], cells.figures), (answer["limits"], cells.limits)):
            for name, figure in given.items():
                several = figure if isinstance(figure, list) else [figure]
                rounds.setdefault(name, []).extend(float(f"{one:.4g}") for one in several)
        cells.empty.update(answer["empty"])

    def ratios(self, work: str, module: str, figure: str) -> list[float]:
        """Beside the limit, round by round; more is worse, whatever the unit."""
        cells = self.works[work][module]
        pairs = zip(cells.figures[figure], cells.limits[figure], strict=True)
        return [limit / ours if figure.endswith("/s") else ours / limit for ours, limit in pairs]

    def beside_ours(self, work: str, module: str, figure: str) -> list[float]:
        """How many times ours it takes, round by round: above 1 we lead. Ours is of the same store and colour."""
        column = self.columns[module]
        of_work = self.works[work]
        ours = next(
            (
                name
                for name, other in self.columns.items()
                if other.is_ours
                and name in of_work
                and (other.store, other.is_async) == (column.store, column.is_async)
            ),
            None,
        )
        if ours is None or figure not in of_work[ours].figures:
            return []
        pairs = zip(of_work[module].figures[figure], of_work[ours].figures[figure], strict=False)
        return [we / they if figure.endswith("/s") else they / we for they, we in pairs]

    def write(self, path: Path) -> None:
        """Write it, a list of rounds on a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text({**asdict(self)}) + "\n")


def read(path: Path = PATH) -> Results:
    """What was written."""
    told = json.loads(path.read_text())
    columns = {module: Column(**column) for module, column in told.pop("columns").items()}
    works = {
        work: {module: Cells(**cells) for module, cells in of_columns.items()}
        for work, of_columns in told.pop("works").items()
    }
    return Results(columns=columns, works=works, **told)


def spread(rounds: Sequence[float]) -> tuple[float, float]:
    """Where the middle half of the rounds begins and ends; of three or fewer, all of them."""
    if len(rounds) < 4:
        return min(rounds), max(rounds)
    low, _, high = statistics.quantiles(rounds, n=4)
    return low, high


def _text(part: Any, indent: str = "") -> str:
    """JSON in which lists of plain things take one line, and changes of one figure change one line."""
    if isinstance(part, dict) and part:
        inner = indent + " "
        lines = [f"{inner}{json.dumps(name)}: {_text(value, inner)}" for name, value in part.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return json.dumps(part, ensure_ascii=False)
