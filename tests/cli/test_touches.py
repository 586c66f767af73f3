"""Which entries an event would rebuild, and why, asked at the command line."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh import Cache, dep
from everfresh.cli.commands import run
from everfresh.cli.touching import read_events

APP = """
from everfresh import Cache, dep
cache = Cache("sqlite:///cache.db")

@cache.cached(key="price:{item}", depends_on=[dep.Topic("shop.price.*", where={"item": dep.arg("item")})])
def price(item):
    return 1

@cache.cached(key="page")
def page():
    return [price("tea"), price("milk")]
"""
TEA = '{"topic": "shop.price.changed", "body": {"item": "tea"}, "id": "7"}'
CLOUD = '{"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.price.changed", "data": {"item": "tea"}}'
PAGE = """\
shop.price.changed 7
  refresh  price:tea
             topic shop.price.* where item = tea
  suspect  page
             it was built from price:tea, which is unsettled
1 event would rebuild 1 entry, drop 0, and make 1 suspect; 0 bad items.
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application whose page is built of two prices; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(f"{APP}\npage()\n")
    yield tmp_path
    sys.modules.pop("shop", None)


@pytest.mark.parametrize(
    "text",
    [TEA, CLOUD, f"[{TEA}]", json.dumps(json.loads(TEA), indent=2), f"\n{TEA}\n\n"],
    ids=["a message", "a CloudEvent", "an array", "over several lines", "a line"],
)
def test_an_event_says_what_it_would_rebuild_and_why(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whichever form it is written; what was built from a touched entry is told too."""
    (folder / "event.json").write_text(text)

    code = run(["touches", "shop:cache", "event.json"])

    assert (code, *capsys.readouterr()) == (0, PAGE, "")


def test_standard_input_is_a_file_too() -> None:
    """As people start the command."""
    done = subprocess.run(
        [sys.executable, "-m", "everfresh", "touches", "shop:cache", "-"],
        input=TEA,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, PAGE, "")


def test_nothing_is_published(folder: Path) -> None:
    """Asking changes nothing."""
    (folder / "event.json").write_text(TEA)

    run(["touches", "shop:cache", "event.json"])

    with Cache("sqlite:///cache.db") as cache:
        assert {entry.state.value for entry in cache.blocking.entries()} == {"fresh"}


def test_an_event_that_touches_nothing_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is an answer, and no mistake."""
    (folder / "event.json").write_text('{"topic": "shop.other"}')

    code = run(["touches", "shop:cache", "event.json"])

    assert code == 0
    assert capsys.readouterr().out.splitlines()[0] == "shop.other touches nothing"


def test_programs_get_one_object_for_each_event(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all that is known of each entry."""
    (folder / "event.json").write_text(f'{TEA}\n{{"topic": "shop.other"}}\n')

    code = run(["touches", "shop:cache", "event.json", "--json"])

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert code == 0
    assert (second["number"], second["topic"], second["entries"]) == (2, "shop.other", [])
    assert (first["number"], first["topic"], first["id"]) == (1, "shop.price.changed", "7")
    assert first["entries"][0] == {
        "key": "price:tea",
        "function": "shop.price@1",
        "state": "fresh",
        "fate": "refresh",
        "meets": ["topic shop.price.* where item = tea"],
        "built_from": [],
        "but": "",
    }
    assert (first["entries"][1]["fate"], first["entries"][1]["built_from"]) == ("suspect", ["price:tea"])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (f"{TEA}\nno json\n[1]\n", ["2: this is not JSON", "3: an event must be a JSON object, not an array"]),
        ("{", ["1: this is not JSON"]),
        ("", ["1: this is not JSON"]),
        (f'[{TEA}, {{"topic": "a b"}}, 7]', ["2: topic: ", "3: an event must be"]),
        ('{\n "body":\n {}\n}', ["1: topic: required, and missing"]),
        ('{"specversion": "1.0", "type": "t", "id": "1"}', ["1: source: required, and missing"]),
    ],
)
def test_what_is_no_event_is_named_and_passed_over(
    folder: Path, text: str, problems: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By its number; the exit code says that there was such."""
    (folder / "event.json").write_text(text)

    code = run(["touches", "shop:cache", "event.json"])

    out, err = capsys.readouterr()
    told = err.splitlines()
    assert code == 1
    assert len(told) == len(problems)
    assert all(line.startswith(problem) for line, problem in zip(told, problems, strict=True)), told
    assert f"{len(problems)} bad item" in out


def test_many_reasons_are_cut_short(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People read the beginning, and are told how many more there are."""
    (folder / "event.json").write_text('{"topic": "shop.order"}')
    with Cache("sqlite:///cache.db") as cache:
        topics = [dep.Topic("shop.#", where={"item": None, f"field{n}": None}) for n in range(12)]
        cache.blocking.put("wide", 1, *topics)

    run(["touches", "shop:cache", "event.json"])

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  drop     wide"
    assert lines[-2].strip() == "and 2 more"


def test_an_event_sends_nothing_to_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever its id, its values and the keys hold."""
    evil = "\x1b[2J\n\u202e"
    with Cache("sqlite:///cache.db") as cache:
        cache.blocking.put(evil, 1, dep.Topic("shop.*", where={"item": evil}))
    (folder / "event.json").write_text(json.dumps([{"topic": "shop.order", "id": evil, "body": {"item": evil}}, evil]))

    run(["touches", "shop:cache", "event.json"])

    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert r"  drop     \x1b[2J\n\u202e" in out.split("\n")


def test_lines_are_numbered_as_in_the_file() -> None:
    """Empty ones count, as an editor counts them."""
    assert [number for number, _ in read_events(f"{TEA}\n\n{TEA}".encode())] == [1, 3]
