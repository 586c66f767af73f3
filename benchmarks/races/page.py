"""The page docs/races.md: made of the kept results alone."""

from collections.abc import Iterator
from typing import Any

from benchmarks.races.results import Results, verdict_of

_MARKS = {"held": "✓", "failed": "✗", "not offered": "-"}
_HEAD = """# Races

Does a value that was invalidated come back? Eight races, run one after the other on [one machine](#where) with
Everfresh and with libraries that people choose instead, each in processes and an environment of its own, through its
documented API and with the options that its documentation recommends for freshness. `make races` runs them again; this
page is made of [what came out](results/races.json) and of nothing else.

✓ says that it held each time, ✗ that it did not, - that the library has nothing of the kind. A library that
never promised something does not break a promise by failing at it: [what each of them leaves out](#fairness) is said
below, and should be read with the table.
"""
_NOTES = """\
- Where a library works in threads and in an event loop, both were tried. A cell that shows one figure saw the same in
  both; the first table counts the worse.
- Where the invalidation of a library waits for a build that is under way, the build is let go on first.
- A library that lets values expire after some seconds is right again then. These races are about the time before, so
  no lifetimes were set but where a race is about them.
- The same scenarios are run by the tests: with Everfresh, and with caches that somebody wrote in an afternoon, which
  have to lose each of them.
"""


def page_of(results: Results) -> str:
    """The whole page."""
    parts = [_HEAD, *_summary(results)]
    for scenario in results["scenarios"]:
        parts += _scenario(results, scenario)
    return "\n".join([*parts, *_fairness(results), *_machine(results)])


def _summary(results: Results) -> Iterator[str]:
    scenarios = results["scenarios"]
    yield "## All of them"
    yield ""
    yield "How many of a library's cells held, of those that it offers."
    yield ""
    yield from _table(
        ["library", *(f"[{scenario['title']}](#{_anchor(scenario['title'])})" for scenario in scenarios)],
        [
            [_bold(peer), *(_all_of(results["cells"][scenario["name"]], peer["name"]) for scenario in scenarios)]
            for peer in results["peers"]
        ],
    )


def _all_of(rows: dict[str, Any], peer: str) -> str:
    verdicts = [verdict_of(row[peer]) for row in rows.values()]
    n_offered = sum(verdict != "not offered" for verdict in verdicts)
    n_held = verdicts.count("held")
    if not n_offered:
        return _MARKS["not offered"]
    return f"{_MARKS['held' if n_held == n_offered else 'failed']} {n_held} of {n_offered}"


def _scenario(results: Results, scenario: dict[str, Any]) -> Iterator[str]:
    cells = results["cells"][scenario["name"]]
    yield f"## {scenario['title']}"
    yield ""
    yield scenario["about"]
    yield ""
    yield from _table(
        ["library", *scenario["rows"].values()],
        [
            [_bold(peer), *(_cell(cells[row][peer["name"]], is_both=peer["is_both"]) for row in scenario["rows"])]
            for peer in results["peers"]
        ],
    )


def _cell(cells: list[dict[str, Any]], *, is_both: bool) -> str:
    shown = [f"{_MARKS[cell['verdict']]} {cell['text']}" for cell in cells]
    if not is_both or len(set(shown)) == 1:
        return shown[0]
    return "<br>".join(f"{one} ({colour})" for one, colour in zip(shown, ("threads", "tasks"), strict=True))


def _fairness(results: Results) -> Iterator[str]:
    yield "## Fairness"
    yield ""
    yield "Which version, how it is used, and what it does not promise, so that a bad cell there is no fault of it."
    yield ""
    yield from _table(
        ["library", "version", "store", "used", "does not promise"],
        [
            [_bold(peer), *(peer[word] for word in ("version", "store", "options", "lacks"))]
            for peer in results["peers"]
        ],
    )
    yield _NOTES


def _machine(results: Results) -> Iterator[str]:
    yield "## Where"
    yield ""
    yield f"It took {results['took_s'] / 60:.0f} minutes."
    yield ""
    yield from _table(["what", "which"], [[name, str(fact)] for name, fact in results["machine"].items()])


def _table(head: list[str], lines: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for line in lines:
        yield f"| {' | '.join(word.replace('|', '/') for word in line)} |"
    yield ""


def _bold(peer: dict[str, Any]) -> str:
    return f"**{peer['name']}**" if peer["name"].startswith("Everfresh") else str(peer["name"])


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")
