"""Break each guard of the rules and the stores by hand, and see that a test fails.

The list is `scripts/mutants.toml`: for each guard a text that stands exactly once in a file, and what takes its place.
Each mutant is such a change in a copy of the tree, over which nets of tests are cast until one fails.

- A mutant is killed by a test that fails with it and passes without it. What ends a run otherwise kills nothing: a
  module that cannot be imported, a fixture that breaks, code that uses a name which is no longer there.
- The tree is copied once, at the beginning, so that it may be edited meanwhile.
- The test that noticed a mutant last time, as the page says, is asked first.

    make mutants                        run them all, and write docs/reference/mutants.md
    make mutants ARGS="fence begin"     run those whose name has one of the words, and write their lines anew
    make mutants ARGS=--check           only see that each can be made: its text stands once, and the result compiles
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "scripts/mutants.toml"
PAGE = ROOT / "docs/reference/mutants.md"
N_AT_ONCE = 2
# Many times what a net takes on a busy machine; a mutant that makes the rules go round for ever ends here.
HANGS_AFTER_S = 240
# The quick ones, and those that name what is wrong, stand first.
NETS: dict[str, tuple[str, ...]] = {
    "rules": ("tests/unit/protocol",),
    "matching": (
        "tests/unit/matching/test_triage.py",
        "tests/unit/matching/test_lists.py",
        "tests/unit/matching/test_comparing.py",
        "tests/unit/matching/test_paths.py",
        "tests/unit/matching",
    ),
    "contract": (
        "tests/stores/test_memory.py",
        "tests/stores/test_memory_tables.py",
        "tests/stores/test_interrupts.py",
    ),
    "near": (
        "tests/unit/cache/test_near.py",
        "tests/feed",
        "tests/cache/test_near_guards.py",
        "tests/cache/test_got_near.py",
        "tests/cache/test_expires.py",
        "tests/cache/test_sharing.py",
        "tests/cache/test_keys.py",
        "tests/cache/test_nesting.py",
        "tests/cache/test_read_after.py",
        "tests/cache/test_waiting_together.py",
    ),
    "sqlite": (
        "tests/stores/test_sqlite_tables.py",
        "tests/stores/test_sqlite_guards.py",
        "tests/stores/test_sqlite_bell.py",
        "tests/stores/test_sqlite_loss.py",
        "tests/stores/test_sqlite_growth.py",
        "tests/stores/test_sqlite_migrations.py",
        "tests/stores/test_interrupts.py",
        "tests/stores/test_sqlite_files.py",
        "tests/stores/test_sqlite_replaced.py",
        "tests/stores/test_sqlite_put_back.py",
        "tests/stores/test_sqlite_sources.py",
        "tests/cache/test_forked.py",
        "tests/stores/test_sqlite.py",
    ),
    "consuming": (
        "tests/sources/test_consuming.py",
        "tests/sources/test_consuming_topics.py",
        "tests/sources/test_consuming_cancelled.py",
        "tests/sources/test_formats.py",
        "tests/sources/test_quarantine.py",
        "tests/sources/test_consuming_histories.py",
    ),
}
# Which nets are cast for a mutant of a file, by how its name begins.
NETS_OF = {
    "protocol/": ("rules", "contract"),
    "matching/": ("matching", "contract"),
    "stores/sqlite": ("sqlite",),
    "stores/": ("contract", "sqlite"),
    "sources/": ("consuming",),
    "": ("near",),
}
# What code raises that a change has made meaningless, instead of wrong.
BROKEN_CODE = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError")
# So does code that hands on what has not the form that others expect, unless it is a test that meets it.
BROKEN_FORM = ("TypeError", "AttributeError")
_FAILED = re.compile(r"^FAILED (?P<test>[^\[\s]+(?:\[.*?\])?)(?: - (?P<error>.*))?$", re.MULTILINE)
_ERROR = re.compile(r"^ERROR .*$", re.MULTILINE)
_RAISED_IN_SRC = re.compile(r"^\S*src/everfresh\S*\.py:\d+: ", re.MULTILINE)
# How pytest ends: the last when no test has the name that is asked for any more.
_ALL_PASSED, _SOME_FAILED, _NONE_FOUND = 0, 1, 5
_MAX_CODE = 90
_SURVIVED = "**survived**"
_ROW = re.compile(r"^\| (?P<name>(?!guard|---)[^|]+) \|.*$", re.MULTILINE)
_NOTICED = re.compile(
    r"^\| (?P<name>(?!guard|---)[^|]+) \|.*\| \[(?P<test>\w+)\]\(\.\./\.\./(?P<file>\S+)\) \|$", re.MULTILINE
)
_TAKES_MINUTES = 10


@dataclass(frozen=True)
class Mutant:
    """One guard, and how it is broken. `nets` are cast instead of those that its file has."""

    name: str
    file: Path
    guard: str
    old: str
    new: str
    nets: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it stands in the tree."""
        return Path("src/everfresh") / self.file

    def nets_to_cast(self) -> tuple[str, ...]:
        """The nets that may catch it, in order."""
        return self.nets or next(nets for start, nets in NETS_OF.items() if str(self.file).startswith(start))

    def problem(self, root: Path) -> str | None:
        """Say why the mutant cannot be made from that tree, if so."""
        path = root / self.path
        if not path.is_file():
            return f"{self.name}: there is no {self.path}."
        text = path.read_text("utf-8")
        n_found = text.count(self.old)
        if n_found != 1:
            return f"{self.name}: its text stands {n_found} times in {self.path}, not once."
        if path.suffix == ".py":
            try:
                compile(text.replace(self.old, self.new), str(path), "exec")
            except SyntaxError as error:
                return f"{self.name}: what it makes of {self.path} does not compile: {error}."
        return None

    def make(self, copy: Path) -> None:
        """Break the guard in that copy, whose files others may share."""
        path = copy / self.path
        text = path.read_text("utf-8")
        path.unlink()
        path.write_text(text.replace(self.old, self.new), "utf-8")


@dataclass(frozen=True)
class Outcome:
    """What one run of tests came to; `test` is the test that failed, and `error` what it said."""

    test: str | None = None
    error: str = ""
    is_crash: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a mutant; without a net it survived, or what ended the run was no failed test."""

    mutant: Mutant
    net: str | None
    outcome: Outcome
    took_s: float


def mutants(text: str) -> list[Mutant]:
    """Give the list."""
    return [
        Mutant(
            name=one["name"],
            file=Path(one["file"]),
            guard=one["guard"],
            old=one["old"],
            new=one["new"],
            nets=tuple(one.get("nets", ())),
        )
        for one in tomllib.loads(text)["mutant"]
    ]


def outcome_of(code: int, text: str) -> Outcome:
    """Read what pytest said, asked to stop at the first failure and to tell it in a line."""
    if code in (_ALL_PASSED, _NONE_FOUND):
        return Outcome()
    found = _FAILED.search(text)
    if code != _SOME_FAILED or found is None:
        said = _ERROR.search(text)
        return Outcome(error=f"pytest ended with {code}: {said[0] if said else text[-200:]}", is_crash=True)
    error = found["error"] or ""
    raised = error.partition(":")[0].rpartition(".")[2]
    is_crash = raised in BROKEN_CODE or (raised in BROKEN_FORM and _RAISED_IN_SRC.search(text) is not None)
    return Outcome(found["test"], error, is_crash)


def run(copy: Path, tests: Sequence[str]) -> Outcome:
    """Run the tests over that copy of the tree, up to the first that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=HANGS_AFTER_S
        )
    except subprocess.TimeoutExpired:
        return Outcome(error="the tests hang", is_crash=True)
    return outcome_of(done.returncode, done.stdout)


class Nets:
    """The tests as they are without any mutant, and what they noticed last time."""

    def __init__(self, tree: Path, noticed_by: Mapping[str, tuple[str, str]]) -> None:
        self._tree = tree
        self._noticed_by = noticed_by
        self._passing: set[str] = set()

    def tried(self, mutant: Mutant, names: Sequence[str] | None) -> Result:
        """Cast the nets over a copy of the tree with the mutant in it; first the test that noticed it last time."""
        began = time.monotonic()
        outcome = Outcome()
        with tempfile.TemporaryDirectory(prefix="everfresh-mutant-") as folder:
            copy = Path(folder) / "tree"
            shutil.copytree(self._tree, copy, copy_function=os.link)
            mutant.make(copy)
            for name, tests in self._to_cast(mutant, names):
                outcome = self._cast(copy, tests)
                if outcome.test is not None and not outcome.is_crash:
                    return Result(mutant, name, outcome, time.monotonic() - began)
        return Result(mutant, None, outcome, time.monotonic() - began)

    def _to_cast(self, mutant: Mutant, names: Sequence[str] | None) -> Iterator[tuple[str, list[str]]]:
        noticed_by = self._noticed_by.get(mutant.name)
        if noticed_by is not None and names is None and (self._tree / noticed_by[0]).exists():
            yield "again", [noticed_by[0], "-k", noticed_by[1]]
        for name in names or mutant.nets_to_cast():
            yield name, [test for test in NETS[name] if (self._tree / test).exists()]

    def _cast(self, copy: Path, tests: Sequence[str]) -> Outcome:
        """Cast a net over a mutant; a test that fails in the tree as it is, too, says nothing and is left out."""
        left_out: list[str] = []
        while True:
            outcome = run(copy, [*tests, *(f"--deselect={test}" for test in left_out)])
            if outcome.test is None or outcome.test in left_out or self._passes(outcome.test):
                return outcome
            left_out.append(outcome.test)
            print(f"{outcome.test} fails without any mutant.", flush=True)

    def _passes(self, test: str) -> bool:
        if test not in self._passing and run(self._tree, [test]) == Outcome():
            self._passing.add(test)
        return test in self._passing


def copied(folder: Path) -> Path:
    """A copy of what the tests need, with everything compiled."""
    tree = folder / "tree"
    for name in ("src", "tests", "scripts", "docs", "deploy"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The tests cannot be collected as they are:\n{done.stdout[-2_000:]}")
    return tree


def shown(result: Result) -> str:
    """One line for people."""
    outcome = result.outcome
    if result.net is not None:
        what = f"{result.net}: {outcome.test}: {outcome.error[:160]}"
    else:
        what = f"NO TEST FAILED: {outcome.error}" if outcome.is_crash else "SURVIVED"
        what = f"CRASHED {outcome.test}: {outcome.error}" if outcome.is_crash and outcome.test else what
    return f"{result.mutant.name} ({result.took_s:.0f} s): {what}"


def page(listed: Sequence[Mutant], results: Sequence[Result], before: str) -> str:
    """Write the results as a page; of mutants that were not tried this time what the page said before is kept."""
    rows = {found["name"]: found[0] for found in _ROW.finditer(before)} | {
        one.mutant.name: _row(one) for one in results
    }
    kept = [rows[mutant.name] for mutant in listed if mutant.name in rows]
    n_survived = sum(_SURVIVED in row for row in kept)
    return "\n".join(
        [
            "# Broken guards",
            "",
            "Each line is one guard of the rules, the stores or the near cache that was removed or inverted in a copy",
            "of the tree, and a test that failed with it. Without the change the same test passes. Only a test",
            "that fails counts, never code that cannot run.",
            "",
            "`make mutants` repeats it from the list in [scripts/mutants.toml](../../scripts/mutants.toml), and writes",
            f"this page; on two cores that takes about {_TAKES_MINUTES} minutes. One of the ordinary tests sees that",
            "each mutant of the list can still be made, and that the page has them all.",
            "",
            f"{len(kept) - n_survived} of {len(kept)} were noticed.",
            "",
            "| guard | what it keeps | file | what was broken | noticed by |",
            "| --- | --- | --- | --- | --- |",
            *kept,
            "",
        ]
    )


def _row(result: Result) -> str:
    mutant, test = result.mutant, result.outcome.test
    noticed = _SURVIVED if result.net is None or test is None else _linked(test)
    return f"| {mutant.name} | {mutant.guard} | `{mutant.file}` | {_difference(mutant.old, mutant.new)} | {noticed} |"


def _difference(old: str, new: str) -> str:
    """What was broken, without the lines that only say where."""
    before, after = old.strip("\n").split("\n"), new.strip("\n").split("\n")
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    was, became = _code(before), _code(after)
    return f"{was} became {became}" if became else f"{was} left out"


def _code(lines: Sequence[str]) -> str:
    text = " ".join(stripped for line in lines if (stripped := line.strip()))
    short = text if len(text) <= _MAX_CODE else f"{text[:_MAX_CODE]} ..."
    return f"`{short}`".replace("|", "\\|") if text else ""


def _linked(test: str) -> str:
    """The test, without its class and parameters, as a link to its file."""
    file, _, name = test.partition("[")[0].partition("::")
    return f"[{name.rpartition('::')[2]}](../../{file})"


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description="Break each guard and see that the tests notice.")
    parser.add_argument(
        "words", nargs="*", help="only mutants whose name has one of these words; keeps the other lines of the page"
    )
    parser.add_argument("--check", action="store_true", help="only see that each can be made")
    parser.add_argument("--net", action="append", choices=NETS, help="only these nets, in this order; writes no page")
    options = parser.parse_args()
    listed = mutants(LIST.read_text("utf-8"))
    chosen = [one for one in listed if not options.words or any(word in one.name for word in options.words)]
    with tempfile.TemporaryDirectory(prefix="everfresh-mutants-") as folder:
        tree = ROOT if options.check else copied(Path(folder))
        problems = {one: problem for one in chosen if (problem := one.problem(tree)) is not None}
        print("\n".join(problems.values()) or f"{len(chosen)} mutants can be made.", flush=True)
        if options.check:
            return 1 if problems else 0
        before = PAGE.read_text("utf-8") if PAGE.exists() else ""
        nets = Nets(tree, {found["name"]: (found["file"], found["test"]) for found in _NOTICED.finditer(before)})
        results = _all_tried([one for one in chosen if one not in problems], options.net, nets)
    if not options.net:
        PAGE.write_text(page(listed, results, before), "utf-8")
    return 1 if problems or any(result.net is None for result in results) else 0


def _all_tried(chosen: Sequence[Mutant], names: Sequence[str] | None, nets: Nets) -> list[Result]:
    began = time.monotonic()
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        waiting = [pool.submit(nets.tried, mutant, names) for mutant in chosen]
        for done in as_completed(waiting):
            print(shown(done.result()), flush=True)
    results = [done.result() for done in waiting]
    n_killed = sum(result.net is not None for result in results)
    print(f"{n_killed} of {len(results)} killed, in {(time.monotonic() - began) / 60:.1f} minutes.")
    return results


if __name__ == "__main__":
    sys.exit(main())
