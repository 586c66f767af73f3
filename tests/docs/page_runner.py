"""Run the Python blocks of one page of Markdown, in order, as one program; each prints what the page says it prints.

Called as a program with the path of a page, in a process of its own, so that no page sees what another left behind.

A page reads as a session: later blocks see the names of earlier ones, and a block may `await` at its top level. If a
block of output (```text) follows with the words "It prints:" before it, that is what the block must print.

A block that begins with a comment that names a file, `# shop/pages.py`, is that file: it is written into the current
folder and imported, and later blocks see its names too.
"""

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

FENCE = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\nIt prints:\n\n```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"# (?P<path>(?:\w+/)*\w+\.py)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of Python, with the line of the page where it starts and what it should print, if the page says."""

    code: str
    line: int
    output: str | None

    @property
    def file(self) -> Path | None:
        """The file that it is."""
        found = FILE.match(self.code)
        return None if found is None else Path(found["path"])


def blocks_of(text: str) -> Iterator[Block]:
    """Give the Python blocks of a page, in order."""
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(code=found["code"], line=line, output=found["output"])


def compiled(page: Path, block: Block) -> CodeType:
    """Compile a block so that a traceback shows the page's own lines."""
    padding = "\n" * block.line
    return compile(padding + block.code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def written(page: Path, folder: Path) -> None:
    """Write the files of a page into a folder."""
    for block in blocks_of(page.read_text("utf-8")):
        if block.file is not None:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.code, "utf-8")


def imported(file: Path) -> dict[str, object]:
    """The names of a file in the current folder."""
    sys.path[:0] = [] if "" in sys.path else [""]
    importlib.invalidate_caches()
    return vars(importlib.import_module(".".join(file.with_suffix("").parts)))


def printed_by(run: Callable[[], object]) -> str:
    """Give what a call prints, and pass it on for whoever reads a failure."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run()
    sys.stdout.write(output.getvalue())
    return output.getvalue()


def run_page(page: Path) -> None:
    """Run all blocks of a page in one namespace and one event loop.

    Raises:
        AssertionError: a block did not print what the page says.
    """
    module = ModuleType("__main__")
    sys.modules["__main__"] = module  # whoever looks up the annotations of a class does it there
    written(page, Path())
    with asyncio.Runner() as runner:
        for block in blocks_of(page.read_text("utf-8")):
            if block.file is not None:
                names = imported(block.file)
                vars(module).update({name: value for name, value in names.items() if not name.startswith("__")})
                continue
            code = compiled(page, block)

            def run(code: CodeType = code) -> None:
                waits = bool(code.co_flags & inspect.CO_COROUTINE)
                result = eval(code, vars(module))  # noqa: S307 - our own pages
                if waits:
                    runner.run(result)

            output = printed_by(run)
            if block.output is not None and output != block.output:
                message = f"{page}:{block.line + 1}: prints\n{output}and the page says\n{block.output}"
                raise AssertionError(message)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]).resolve())
