"""What a command line names and is not there: one line says what to do."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh.cli.commands import run

SHOP = """
from everfresh import Cache

cache = Cache("memory:")


async def app(scope, receive, send): ...


@cache.cached
async def page(): ...


class Bus: ...


bus = Bus()
"""
NO_TEXT = "\udcff"


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process sets up how all of it logs; the next test is another process."""
    loggers = [logging.getLogger(name) for name in (None, "everfresh", "uvicorn")]
    before = [(one, one.level) for one in loggers]
    monkeypatch.setattr(loggers[0], "handlers", [*loggers[0].handlers])
    yield
    for one, level in before:
        one.setLevel(level)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application, and a program that is none; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "program.py").write_text("import sys\nsys.exit('no arguments')")
    yield tmp_path
    for name in ("shop", "program"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["web", "shop:ap"], "no 'ap'. Did you mean shop:app?", id="an application that is misspelt"),
        pytest.param(["web", "shop:xyz"], "Is it the right module?", id="an application that is nowhere"),
        pytest.param(["web", "shop:page"], "not an ASGI application", id="a cached function for an application"),
        pytest.param(["worker", "shop:cach"], "Did you mean shop:cache?", id="a cache that is misspelt"),
        pytest.param(["worker", "redis://:hidden@host/0"], "a URL or a path names no cache", id="a URL for a cache"),
        pytest.param(["doctor", "shop.py/cache"], "Write module:attribute", id="a path for a cache"),
        pytest.param(["worker", "program:cache"], "failed with SystemExit: no arguments", id="a program"),
        pytest.param(
            ["consume", "shop:cache", "--source", "shop:bu"], "mean shop:bus?", id="a source that is misspelt"
        ),
        pytest.param(["consume", "shop:cache", "--source", "amqp:/hidden"], "this is no URL", id="half a URL"),
        pytest.param(["record", f"amqp://h/{NO_TEXT}?queue=hidden", "x"], "Write it in UTF-8", id="a URL in no text"),
        pytest.param(["quarantine", "list", "pigeon://hidden"], "no store of this kind", id="a store of no kind"),
        pytest.param(["sources", "list", "redis:/hidden"], "it cannot be read", id="half a store's URL"),
        pytest.param(["sources", "list", f"sqlite:///{NO_TEXT}"], r"no file '\udcff'", id="a file in no text"),
    ],
)
def test_what_is_not_there_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to do, and shows no password."""
    assert run(arguments) == 2

    said = capsys.readouterr().err
    (line,) = [one for one in said.splitlines() if one.startswith("Error:")]
    assert words in line
    assert said.endswith(f"{line}\n")
    assert "hidden" not in said
