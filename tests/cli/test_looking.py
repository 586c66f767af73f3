"""People look at a cache from the command line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh import Cache, Event, dep
from everfresh.cache.printing import printable_key
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


# Clears the screen, forges a line, and turns the direction of writing.
EVIL, PRINTED = "k\x1b[2J\nfresh     menu\u202e", r"k\x1b[2J\nfresh     menu\u202e"


def run_anew(*arguments: str) -> int:
    """As in another process: the application is imported, and its cache opened, again."""
    sys.modules.pop("shop", None)
    return run(arguments)


@pytest.fixture
def evil() -> None:
    """Texts for a terminal to stumble over, as users may put them in; and a key that looks like one that is escaped."""
    with Cache("sqlite:///cache.db") as cache:

        @cache.cached(key="evil", depends_on=[dep.Topic("shop.*")])
        def evil() -> int:
            return 1

        evil()
        cache.blocking.put(EVIL, "the first", dep.Id(EVIL, 1))
        cache.blocking.put(PRINTED, "the second")
        cache.blocking.publish(Event("shop.order", id=EVIL))


@pytest.mark.usefixtures("evil")
def test_one_entry_is_one_line_that_a_terminal_only_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its key and its reason hold."""
    code = run(["entries", "shop:cache"])

    lines = capsys.readouterr().out.split("\n")
    assert code == 0
    assert len(lines) == 5 + 2
    assert all(line.isprintable() for line in lines)
    assert f"fresh     {PRINTED}" in lines
    assert f"dirty     evil  (event shop.order {PRINTED})" in lines


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("key", [EVIL, PRINTED], ids=["evil", "printed"])
def test_a_key_is_found_by_what_was_printed_of_it(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So what `entries` printed can be copied to `explain`; two keys are not taken for each other."""
    run(["entries", "shop:cache", "--pattern", "k*"])
    printed = {line.removeprefix("fresh     ") for line in capsys.readouterr().out.split("\n")[:2]}
    shown = printable_key(key)

    code = run_anew("explain", "shop:cache", shown)

    lines = capsys.readouterr().out.split("\n")
    assert shown in printed
    assert (code, lines[0]) == (0, shown)
    assert all(line.isprintable() for line in lines)
    assert (f"    id {PRINTED} 1" in lines) == (key == EVIL)


def test_a_key_is_found_as_it_is_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A log has it so; a backslash in it need not be an escape."""
    key = r"C:\new"
    with Cache("sqlite:///cache.db") as cache:
        cache.blocking.put(key, 1)

    code = run(["explain", "shop:cache", key])

    assert (code, capsys.readouterr().out.split("\n")[0]) == (0, r"C:\\new")


def test_an_error_sends_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what was asked for, nor what was found there."""
    code = run(["explain", "shop:cache", EVIL])

    err = capsys.readouterr().err
    assert code == 1
    assert err.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("artcle", "'artcle' is no function's name. Names are module.qualname@version"),
        ("shop.artcle@1", "'shop.artcle@1': no such function is declared, and nothing of it is stored"),
    ],
)
def test_a_function_that_is_none_is_told_with_those_that_there_are(
    name: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a slip of the pen would say that all is built."""
    code = run(["entries", "shop:cache", "--function", name])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert why in err
    assert "Functions here: shop.article@1." in err


def test_a_function_that_has_no_entries_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor one that is not declared any more, as long as something of it is there."""
    with Cache("sqlite:///cache.db") as cache:
        (old,) = {entry.function for entry in cache.blocking.entries(pattern="article:*")}

    codes = [run_anew("entries", "shop:cache", "--function", name) for name in ("shop.article@1", old)]

    assert codes == [0, 0]
    assert capsys.readouterr().out.splitlines()[0] == "0 entries listed; 0 of 0 entries built: 100.00 %."
