import subprocess
import sys

import pytest

from everfresh import __version__
from everfresh.cli.commands import run


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_the_version_is_told() -> None:
    """By the command as people start it."""
    done = python("-m", "everfresh", "--version")

    assert (done.returncode, done.stdout) == (0, f"everfresh {__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_names_the_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a line."""
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert "demo" in out
    assert "replay" in out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "Usage"),
        (["dance"], "dance"),
        (["replay"], "APP"),
        (["demo", "--port", "70000"], "--port"),
        (["demo", "--port", "x"], "--port"),
        (["demo", "--upstream-delay", "-1"], "--upstream-delay"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_explained(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an exit code of its own."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert word in out + err


@pytest.mark.parametrize(
    ("missing", "arguments", "words"),
    [
        ("click", "'--version'", "pip install 'everfresh[cli]'"),
        ("uvicorn", "'demo', '--once'", "pip install 'everfresh[all]'"),
    ],
)
def test_a_missing_extra_is_named(missing: str, arguments: str, words: str) -> None:
    """Not shown as a traceback."""
    missing_here = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = [{arguments}]"
    program = f"{missing_here}; from everfresh.cli import main; main()"

    done = python("-c", program)

    assert done.returncode == 1
    assert missing in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["everfresh.sources", "everfresh.push"])
def test_a_broken_installation_is_no_missing_extra(missing: str) -> None:
    """A module of our own that is missing is a bug to be seen whole."""
    missing_here = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['demo', '--once']"
    program = f"{missing_here}; from everfresh.cli import main; main()"

    done = python("-c", program)

    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr
