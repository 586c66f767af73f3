"""What came of the races: kept as JSON, of which the page is made."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.catalogue import peer_of
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import ROOT, version_of

SCENARIOS = ("stale_set", "hot_keys", "stampede", "nested", "lists", "writers", "growth", "per_user")
"""Modules of `benchmarks.races`, in the order of the page."""
DATA = ROOT / "docs" / "results" / "races.json"
PAGE = ROOT / "docs" / "races.md"

Cells = dict[str, dict[str, list[dict[str, Any]]]]
"""Of one scenario: row -> peer -> a cell for each of its colours, threads first."""
Results = dict[str, Any]


def described(scenario: str) -> dict[str, Any]:
    """What the page says of a scenario."""
    module: Any = importlib.import_module(f"benchmarks.races.{scenario}")
    return {"name": scenario, "title": module.TITLE, "about": module.__doc__.strip(), "rows": dict(module.ROWS)}


def described_peer(peer: Peer) -> dict[str, Any]:
    """What the page says of a peer."""
    return {"name": peer.name, "version": version_of(peer), **_words_of(peer)}


def in_words_of_now(results: Results) -> Results:
    """The same figures and versions, with what scenarios and peers say of themselves now."""
    return {
        **results,
        "scenarios": [described(scenario["name"]) for scenario in results["scenarios"]],
        "peers": [{**peer, **_words_of(peer_of(peer["name"]))} for peer in results["peers"]],
    }


def _words_of(peer: Peer) -> dict[str, Any]:
    return {
        "options": peer.options,
        "lacks": peer.lacks,
        "store": peer.store,
        "is_both": bool(peer.async_module),
    }


def verdict_of(cells: list[dict[str, Any]]) -> str:
    """Of the colours together: the worst."""
    verdicts = {cell["verdict"] for cell in cells}
    return next((verdict for verdict in ("failed", "held") if verdict in verdicts), "not offered")


def n_failed(results: Results, peers: tuple[Peer, ...]) -> int:
    """How many cells of these failed."""
    names = {peer.name for peer in peers}
    rows = (row for scenario in results["cells"].values() for row in scenario.values())
    return sum(verdict_of(cells) == "failed" for row in rows for name, cells in row.items() if name in names)


def load(path: Path = DATA) -> Results:
    """What was kept."""
    return dict(json.loads(path.read_text("utf-8")))


def save(results: Mapping[str, Any], path: Path = DATA) -> None:
    """Keep it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
