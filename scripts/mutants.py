"""Break each guard of the rules and the stores by hand, and see that the tests notice.

The list is `scripts/mutants.toml`: for each guard a text that stands exactly once in a file, and what takes its place.
Each mutant is a copy of the tree with one such change; it is killed when a test fails, or when tests hang. The nets are
tried in order, the quick ones first, and the first that fails is named. The result is written as a page of the docs.

    python scripts/mutants.py                run them all, and write docs/reference/mutants.md
    python scripts/mutants.py fence begin    run those whose name has one of the words
    python scripts/mutants.py --check        only see that each text still stands exactly once
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

LIST = Path(__file__).with_name("mutants.toml")
PAGE = Path("docs/reference/mutants.md")
N_AT_ONCE = 2
# Many times what a net takes on a busy machine; a mutant that makes the rules go round for ever ends here.
HANGS_AFTER_S = 240
NETS: dict[str, tuple[str, ...]] = {
    "contract": ("tests/stores/test_memory.py",),
    "deciders": ("tests/unit/protocol", "tests/unit/matching"),
    "sqlite": ("tests/stores/test_sqlite.py",),
    "behaviours": ("tests/cache", "tests/refresh", "tests/feed"),
    "histories": ("tests/races",),
}


@dataclass(frozen=True)
class Mutant:
    """One guard, and how it is broken."""

    name: str
    file: Path
    guard: str
    old: str
    new: str

    def problem(self) -> str | None:
        """Say why the mutant cannot be made, if so."""
        if not self.file.is_file():
            return f"{self.name}: there is no {self.file}."
        n_found = self.file.read_text().count(self.old)
        return None if n_found == 1 else f"{self.name}: its text stands {n_found} times in {self.file}, not once."


@dataclass(frozen=True)
class Result:
    """What became of a mutant; without a net it survived."""

    mutant: Mutant
    net: str | None
    test: str
    took_s: float


def mutants() -> list[Mutant]:
    """Give the list."""
    found = tomllib.loads(LIST.read_text())["mutant"]
    return [Mutant(**{**entry, "file": Path("src/everfresh", entry["file"])}) for entry in found]


def tried(mutant: Mutant, nets: Sequence[str]) -> Result:
    """Run the nets over a copy of the tree with the mutant in it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="everfresh-mutant-") as folder:
        copy = Path(folder)
        for name in ("src", "tests"):
            shutil.copytree(name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy("pyproject.toml", copy)
        broken = copy / mutant.file
        broken.write_text(broken.read_text().replace(mutant.old, mutant.new))
        for net in nets:
            test = first_failure(copy, NETS[net])
            if test is not None:
                return Result(mutant, net, test, time.monotonic() - began)
    return Result(mutant, None, "", time.monotonic() - began)


def first_failure(copy: Path, tests: Sequence[str]) -> str | None:
    """Give the test that fails first, or None when all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=HANGS_AFTER_S
        )
    except subprocess.TimeoutExpired:
        return "(the tests hang)"
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) \S+?([^/:\s]+\.py\S*)", done.stdout, re.MULTILINE)
    return found[1] if found else f"(exit {done.returncode})"


def page(results: Sequence[Result]) -> str:
    """Write the result as a page."""
    n_killed = sum(result.net is not None for result in results)
    rows = [
        f"| {result.mutant.name} | `{result.mutant.file.relative_to('src/everfresh')}` | {result.mutant.guard} | "
        + (f"{result.net}: `{result.test}` |" if result.net else "**survived** |")
        for result in results
    ]
    return "\n".join(
        [
            "# Broken guards",
            "",
            "Each line is one guard of the rules or the stores that was removed or inverted in a copy of the tree, and",
            "the first test that failed then. `make mutants` repeats it from the list in `scripts/mutants.toml`, and",
            "writes this page. The nets are tried in this order:",
            "",
            *(f"- {net}: {', '.join(f'`{test}`' for test in tests)}" for net, tests in NETS.items()),
            "",
            f"{n_killed} of {len(results)} were noticed.",
            "",
            "| guard | file | what it keeps | noticed by |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description="Break each guard and see that the tests notice.")
    parser.add_argument("words", nargs="*", help="only mutants whose name has one of these words")
    parser.add_argument("--check", action="store_true", help="only see that each text still stands exactly once")
    parser.add_argument("--net", action="append", choices=NETS, help="only these nets, in this order; writes no page")
    options = parser.parse_args()
    chosen = [one for one in mutants() if not options.words or any(word in one.name for word in options.words)]
    problems = [problem for one in chosen if (problem := one.problem()) is not None]
    if problems or options.check:
        print("\n".join(problems) or f"{len(chosen)} mutants can be made.")
        return 1 if problems else 0
    results: list[Result] = []
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        for result in pool.map(partial(tried, nets=options.net or list(NETS)), chosen):
            results.append(result)
            print(f"{result.mutant.name}: {result.net or 'SURVIVED'} {result.test} ({result.took_s:.0f} s)", flush=True)
    survivors = [result for result in results if result.net is None]
    print(f"{len(results) - len(survivors)} of {len(results)} killed.")
    if not options.words and not options.net:
        PAGE.write_text(page(results))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
