"""People look at a cache from the command line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh import Cache, dep
from everfresh.cli.commands import run

APP = """
from everfresh import Cache, dep
cache = Cache("sqlite:///cache.db")

@cache.cached(key="article:{number}", depends_on=[dep.Id("article", dep.arg("number"))])
def article(number: int) -> str:
    return "Tea"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with an application whose cache holds an article that is out of date, and a put value."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(APP)
    with Cache("sqlite:///cache.db") as cache:

        @cache.cached(key="article:{number}", depends_on=[dep.Id("article", dep.arg("number"))])
        def article(number: int) -> str:
            return "Tea"

        article(1)
        cache.blocking.put("menu", 1)
        cache.blocking.invalidate(dep.Id("article", 1))
    yield
    sys.modules.pop("shop", None)


def test_entries_are_listed_with_their_states(capsys: pytest.CaptureFixture[str]) -> None:
    """By key; what is not fresh says why."""
    code = run(["entries", "shop:cache"])

    dirty, *others = capsys.readouterr().out.splitlines()
    assert code == 0
    assert dirty.startswith("dirty     article:1  (invalidated ")
    assert others == ["fresh     menu", "2 entries listed; 2 of 2 entries built: 100.00 %."]


@pytest.mark.parametrize(
    ("options", "key"),
    [(["--state", "fresh"], "menu"), (["--pattern", "art*"], "article:1"), (["--function", ""], "menu")],
)
def test_some_entries_are_listed(options: list[str], key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By state, by pattern, by function; a put value is of none."""
    run(["entries", "shop:cache", *options])

    *listed, last = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in listed] == [key]
    assert last.startswith("1 entry listed; ")


def test_a_state_that_is_none_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that there are."""
    assert run(["entries", "shop:cache", "--state", "stale"]) == 2
    assert "'suspect'" in capsys.readouterr().err


def test_an_entry_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """As `cache.explain` does."""
    code = run(["explain", "shop:cache", "article:1"])

    lines = capsys.readouterr().out.splitlines()
    assert (code, lines[0]) == (0, "article:1")
    assert "    id article 1" in lines


def test_what_is_not_there_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    """With an exit code of its own."""
    code = run(["explain", "shop:cache", "article:2"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("everfresh: 'article:2' is not in the cache")


@pytest.mark.parametrize("arguments", [["entries", "shop:nothing"], ["explain", "shop:nothing", "k"]])
def test_an_app_that_names_no_cache_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As `replay` does."""
    assert run(arguments) == 2
    assert "shop:cache" in capsys.readouterr().err
