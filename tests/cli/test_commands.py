import os
import subprocess
import sys
from pathlib import Path

import pytest

from everfresh import __version__
from everfresh.cli.commands import run
from everfresh.testing.waiting import DEADLINE_S


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


@pytest.mark.parametrize("group", [[], ["quarantine"], ["sources"], ["admin"]])
def test_no_line_of_the_help_is_cut_off(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What a command does, its line says whole."""
    run([*group, "--help"])

    commands = capsys.readouterr().out.partition("\nCommands:\n")[2].splitlines()
    assert commands
    assert [line for line in commands if line.endswith("...")] == []


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


def everfresh(
    *arguments: str, how: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command, started by a shell that does something about its input and output."""
    command = ["sh", "-c", f'exec "$0" -m everfresh "$@" {how}', sys.executable, *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env, timeout=DEADLINE_S)


def test_output_that_cannot_be_written_is_one_line() -> None:
    """As on a full disk; Python says nothing more of it at its end."""
    done = everfresh("--help", how=">/dev/full")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "No space left" in done.stderr


def test_output_that_nobody_reads_is_no_error() -> None:
    """`| head -1` has had enough."""
    nobody, written = os.pipe()
    os.close(nobody)
    command = [sys.executable, "-m", "everfresh", "--help"]
    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, check=False)
    os.close(written)

    assert done.stderr == b""


def test_letters_that_a_terminal_does_not_have_are_escaped(tmp_path: Path) -> None:
    """As of a key; `explain` reads it so."""
    (tmp_path / "shop.py").write_text('from everfresh import Cache\ncache = Cache()\ncache.blocking.put("\\u2192", 1)')

    done = everfresh("entries", "shop:cache", cwd=tmp_path, PYTHONIOENCODING="latin-1")

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, r"fresh     \u2192")


def test_input_that_is_closed_is_empty(tmp_path: Path) -> None:
    """Whoever starts a command so means that."""
    (tmp_path / "shop.py").write_text("from everfresh import Cache\ncache = Cache()")

    done = everfresh("replay", "shop:cache", "-", how="<&-", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_that_is_not_there_is_one_line() -> None:
    """What is logged of it besides says the same."""
    done = everfresh("sources", "list", "redis://127.0.0.1:1/0")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "Is Redis running there?" in done.stderr


def test_ctrl_c_while_it_loads_is_one_line() -> None:
    """Its libraries take a moment."""
    program = """if True:
        import sys
        import everfresh.cli

        class Impatient:
            def find_spec(self, name, path, target=None):
                if name == "everfresh.cli.commands":
                    raise KeyboardInterrupt

        sys.meta_path.insert(0, Impatient())
        everfresh.cli.main()
    """

    done = python("-c", program)

    assert (done.returncode, done.stderr) == (1, "everfresh: stopped.\n")
