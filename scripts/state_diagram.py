"""Write docs/explanation/states.md, the states of an entry as a picture and as tables, from the code's own table.

With --check nothing is written: the exit code says whether the page is that of the code.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from everfresh.model.entry import State
from everfresh.protocol import states
from everfresh.protocol.states import TRANSITIONS, Step

PAGE = Path(__file__).parents[1] / "docs/explanation/states.md"
NONE = "-"

INTRODUCTION = """\
<!-- Written by scripts/state_diagram.py from src/everfresh/protocol/states.py: change those. -->

# The states of an entry

An entry begins as `building`, when its first reader takes the lease, or as `fresh`, when it was put by hand. The
picture shows the steps that change a state; the table below has all of them.
"""


def picture() -> Iterator[str]:
    """Give the lines of the diagram: one arrow for all steps between two states."""
    steps_of: dict[tuple[State, State], list[str]] = {}
    for (source, step), target in TRANSITIONS.items():
        if source is not target:
            steps_of.setdefault((source, target), []).append(step.value)
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (source, target), steps in steps_of.items():
        yield f"    {source.value} --> {target.value}: {', '.join(steps)}"
    yield "```"


def table() -> Iterator[str]:
    """Give the lines of the table: a row for each step, a column for each state that it may happen in."""
    yield row("step", [f"from `{state.value}`" for state in State])
    yield row("---", ["---" for _ in State])
    for step in Step:
        targets = [TRANSITIONS.get((state, step)) for state in State]
        yield row(f"`{step.value}`", [NONE if target is None else target.value for target in targets])


def row(head: str, cells: list[str]) -> str:
    """Give one line of a table."""
    return f"| {' | '.join([head, *cells])} |"


def rules() -> Iterator[str]:
    """Give the module's own rules and invariants, each under its heading."""
    words = {word.name: f"`{word.value}`" for word in (*State, *Step)}
    for section in (states.__doc__ or "").strip().split("\n\n")[1:]:
        heading, *lines = section.splitlines()
        yield f"## {heading}"
        yield ""
        for line in lines:
            yield re.sub(r"[A-Z][A-Z_]+", lambda found: words.get(found[0], found[0]), line)
        yield ""


def page() -> str:
    """Give the whole page."""
    note = f"`{NONE}`: the step cannot happen in that state."
    lines = [INTRODUCTION, *picture(), "", *rules(), "## All steps", "", *table(), "", note]
    return "\n".join(lines) + "\n"


def check(text: str) -> int:
    """Print how the page differs from what the code says; give the exit code."""
    written = PAGE.read_text("utf-8") if PAGE.exists() else ""
    difference = difflib.unified_diff(written.splitlines(), text.splitlines(), "the page", "the code", lineterm="")
    for line in difference:
        print(line)
    if written == text:
        return 0
    print(f"{PAGE.name} is out of date. Run scripts/state_diagram.py.")
    return 1


def main() -> int:
    """Write the page or check it; give the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/explanation/states.md from the table of states.")
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    if parser.parse_args().check:
        return check(page())
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
