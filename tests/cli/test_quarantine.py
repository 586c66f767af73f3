"""Messages that nobody could read, at the command line."""

import asyncio
import base64
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh import Cache, dep
from everfresh.cli.commands import run
from everfresh.model.message import Message
from everfresh.sources.quarantine import unreadable

STORE = "sqlite:///cache.db"
APP = f"from everfresh import Cache\ncache = Cache({STORE!r})\n"
EVIL = "\x1b[2J\n\u202e"


def kept(source: str, body: bytes, topic: str = "shop.order", **headers: str) -> str:
    """Put a message into quarantine; its id."""
    one = unreadable(source, "plain", "this is not JSON", Message(topic=topic, body=body, headers=headers, id="m-1"))

    async def put() -> None:
        async with Cache(STORE) as cache:
            await cache.sources.quarantine([one])

    asyncio.run(put())
    return one.id


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application and an entry that orders touch; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(APP)
    with Cache(STORE) as cache:
        cache.blocking.put("orders", 1, dep.Topic("shop.order"))
    yield tmp_path
    sys.modules.pop("shop", None)


@pytest.fixture
def bus() -> str:
    """The id of a message of the bus that is no JSON."""
    return kept("bus", b"no json")


def ids() -> list[str]:
    """What is in quarantine."""

    async def read() -> list[str]:
        async with Cache(STORE) as cache:
            return [one.id for one in await cache.sources.quarantined()]

    return asyncio.run(read())


@pytest.mark.parametrize("store", ["shop:cache", STORE], ids=["by the application", "by the store"])
def test_messages_are_listed_with_what_was_wrong(store: str, bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By their ids, with their source, their topic, the reason, and how they begin."""
    code = run(["quarantine", "list", store])

    first, reason, body, last = capsys.readouterr().out.splitlines()
    assert code == 0
    assert (first.split()[0], first.split()[2:]) == (bus, ["bus", "shop.order"])
    assert (reason, body, last) == ("    this is not JSON", "    no json", "1 message in quarantine.")


def test_those_of_one_source_are_listed(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is a list too."""
    web = kept("web", b"{")

    assert run(["quarantine", "list", STORE, "--source", "web", "--json"]) == 0
    listed = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert run(["quarantine", "list", STORE, "--source", "nobody"]) == 0

    assert listed == [web]
    assert capsys.readouterr().out == "0 messages in quarantine.\n"


def test_a_list_shows_how_long_ones_begin(capsys: pytest.CaptureFixture[str]) -> None:
    """Eighty letters, whatever they are made of."""
    kept("bus", "é".encode() * 500)

    run(["quarantine", "list", STORE])

    assert capsys.readouterr().out.splitlines()[2] == f"    {'é' * 80}..."


def test_one_is_shown_with_all_that_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """The beginning of its id is enough."""
    id_ = kept("bus", b"one\ntwo", sender="ann")

    code = run(["quarantine", "show", STORE, id_[:6]])

    lines = capsys.readouterr().out.splitlines()
    assert (code, lines[0], lines[1]) == (0, id_, "  source: bus")
    assert lines[3:] == [
        "  format: plain",
        "  reason: this is not JSON",
        "  topic: shop.order",
        "  id: m-1",
        "  headers:",
        "    sender: ann",
        "  body, 7 bytes:",
        "    one",
        "    two",
    ]


def test_programs_get_a_body_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """As base64 when it is no text."""
    text, data = kept("bus", b"text"), kept("bus", b"\xff")

    run(["quarantine", "show", STORE, text, "--json"])
    run(["quarantine", "show", STORE, data, "--json"])

    first, second = (json.loads(line)["message"] for line in capsys.readouterr().out.splitlines())
    assert first["body"] == "text"
    assert base64.b64decode(second["body_base64"]) == b"\xff"


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_message_sends_nothing_to_the_terminal(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it holds, in its body, its topic and its headers."""
    id_ = kept("bus", EVIL.encode() + b"\xff\x9b", topic=EVIL, **{EVIL: EVIL})

    run(["quarantine", command, STORE, *([id_] if command == "show" else [])])

    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert r"\x1b[2J" in out


def test_what_still_cannot_be_read_stays(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a line that says why, and an exit code of its own."""
    code = run(["quarantine", "retry", STORE, bus])

    out, err = capsys.readouterr()
    assert code == 1
    assert err.startswith(f"{bus}: this is not JSON")
    assert out == "0 messages read, 0 events applied; 1 message still cannot be read.\n"
    assert ids() == [bus]


def test_what_can_be_read_now_is_applied_and_forgotten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As when the format has been mended; here another one is named, of the application's own."""
    (folder / "shop.py").write_text(
        f"{APP}\nfrom everfresh import Event\n"
        "class Words:\n"
        "    name = 'shop:words'\n"
        "    def events_of(self, message):\n"
        "        return [Event(message.topic, {'words': message.body.decode().split()})]\n"
        "words = Words()\n"
    )
    kept("bus", b"no json")

    code = run(["quarantine", "retry", "shop:cache", "--all", "--format", "shop:words"])

    assert (code, capsys.readouterr().out) == (0, "1 message read, 1 event applied.\n")
    assert ids() == []
    with Cache(STORE) as cache:
        assert not cache.blocking.has("orders")


def test_messages_are_dropped(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By their ids or their source; others stay."""
    web, other = kept("web", b"{"), kept("web", b"[")

    assert run(["quarantine", "drop", STORE, web, "--yes"]) == 0
    assert ids() == [bus, other]
    assert run(["quarantine", "drop", STORE, "--source", "bus", "--yes"]) == 0

    assert ids() == [other]
    assert capsys.readouterr().out == "1 message dropped.\n" * 2


def test_dropping_asks_whoever_sits_there(
    bus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A no leaves all as it is."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", _said_no)

    assert run(["quarantine", "drop", STORE, "--all"]) == 1
    assert ids() == [bus]
    assert capsys.readouterr().err == "everfresh: stopped.\n"


def test_nothing_is_dropped_without_a_word(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, the answer has to be given before."""
    assert run(["quarantine", "drop", STORE, "--all"]) == 2

    assert "give --yes" in capsys.readouterr().err
    assert ids() == [bus]


def test_ctrl_c_is_a_no(bus: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At once: while it is asked, no event loop takes the signal as its own."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: signal.raise_signal(signal.SIGINT))

    assert run(["quarantine", "drop", STORE, "--all"]) == 1
    assert ids() == [bus]
    assert capsys.readouterr().err.strip() == "everfresh: stopped."


def _said_no(text: str, **_options: object) -> bool:
    import click  # noqa: PLC0415 - only here

    assert text == "1 message will be gone. Go on?"
    raise click.Abort


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retry", STORE], "Nothing is named"),
        (["drop", STORE], "Nothing is named"),
        (["drop", STORE, "a", "--all"], "Give either"),
        (["retry", STORE, "--all", "--format", "no-such"], "--format"),
        (["list", "sqlite:///missing.db"], "no file 'missing.db'"),
        (["list", "shop:missing"], "shop:cache"),
    ],
)
def test_a_command_line_that_cannot_be_used_says_why(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is done."""
    assert run(["quarantine", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_what_is_not_there_is_named(bus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is done with the others that were."""
    assert run(["quarantine", "drop", STORE, bus, "zz", "--yes"]) == 1
    assert "'zz': it is not in quarantine" in capsys.readouterr().err
    assert ids() == [bus]


def test_an_id_that_is_not_unique_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody guesses which is meant."""
    made = [kept("bus", str(number).encode()) for number in range(17)]
    twice = next(first[0] for n, first in enumerate(made) if any(one[0] == first[0] for one in made[n + 1 :]))

    assert run(["quarantine", "show", STORE, twice]) == 1
    assert "several of them begin so" in capsys.readouterr().err
