"""Check the rules of the house that no other tool checks, in every file that git would take.

- A module has at most 400 lines, a decision record 60.
- Tests do not sleep: a sleep is too short on a slow machine and too long on all others. What waits for a real server
  polls it with a deadline, and that stands in a `waiting.py`.
- A test says in its docstring which rule it holds.
- No path of somebody's machine stands in a file.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

N_LINES_MAX_OF = {(".py", "src"): 400, (".py", "scripts"): 400, (".md", "docs/adr"): 60}
MACHINE_PATH = re.compile(r"(?<![\w.<>-])/(?:home|Users|root|work|mnt|media)/\w|\b[A-Z]:\\Users\\")
SLEEPS = {"sleep", "time.sleep", "asyncio.sleep", "anyio.sleep"}


def files() -> list[Path]:
    """Give the files that are tracked, or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return [path for path in map(Path, sorted(set(names))) if path.is_file()]


def lengths(path: Path, text: str) -> Iterator[str]:
    """Give a complaint if the file is longer than one idea takes."""
    n_lines = len(text.splitlines())
    for (suffix, folder), n_max in N_LINES_MAX_OF.items():
        if path.suffix == suffix and path.is_relative_to(folder) and n_lines > n_max:
            yield f"{path}:{n_max + 1}: {n_lines} lines, at most {n_max}. Is it one idea?"


def tests(path: Path, text: str) -> Iterator[str]:
    """Give a complaint for each sleep in a test file and each test that states no rule."""
    if path.suffix != ".py" or not path.is_relative_to("tests"):
        return
    for node in ast.walk(ast.parse(text, str(path))):
        match node:
            case ast.Call(args=[ast.Constant(value=0)]):
                pass  # sleep(0) waits for nothing: it lets others run once
            case ast.Call(func=called) if ast.unparse(called) in SLEEPS and path.name != "waiting.py":
                yield f"{path}:{node.lineno}: a sleep. Wait for a signal, or move the fake clock."
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                if ast.get_docstring(node) is None:
                    yield f"{path}:{node.lineno}: {name} has no docstring. Which rule does it hold?"
            case _:
                pass


def machine_paths(path: Path, text: str) -> Iterator[str]:
    """Give a complaint for each line that names a folder of one machine."""
    for number, line in enumerate(text.splitlines(), start=1):
        if MACHINE_PATH.search(line):
            yield f"{path}:{number}: a path of one machine: {line.strip()[:80]}"


def complaints(path: Path) -> Iterator[str]:
    """Give what is wrong with one file; one that is not text has nothing to check."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return
    for rule in (lengths, tests, machine_paths):
        yield from rule(path, text)


def main() -> int:
    """Print each complaint on a line of its own; give the exit code."""
    found = [complaint for path in files() for complaint in complaints(path)]
    print("\n".join(found) or "House rules: kept.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
