"""Recorded messages come in at the command line and touch what they would have touched."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from everfresh import Cache, dep
from everfresh.cli.commands import run
from everfresh.cli.replay import BATCH, lines_of
from everfresh.testing.waiting import until
from tests.needing import recorded_bus

APP = """
from everfresh import Cache
cache = Cache("sqlite:///cache.db")
not_a_cache = 7
"""
LAYERED = """
from everfresh import Cache, dep
cache = Cache("sqlite:///cache.db")

@cache.cached(key="price", depends_on=[dep.Topic("shop.price")])
def price():
    return 1

@cache.cached(key="page", depends_on=[dep.Topic("shop.layout")])
def page():
    return price()

@cache.cached(key="site")
def site():
    return page()

site()
"""
MESSAGES = """\
{"topic": "shop.order.paid", "body": {"order": {"buyer": "ann"}}, "id": "1", "headers": {}}
{"topic": "shop.order.paid", "body": {"order": {"buyer": "bob"}}}
{"topic": "shop.closed"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application whose cache holds three entries; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "messages.jsonl").write_text(MESSAGES)
    with Cache("sqlite:///cache.db") as cache:
        for name in ("ann", "bob"):
            paid = dep.Topic("shop.order.*", where={"order.buyer": name})
            cache.blocking.put(f"orders of {name}", [], paid, dep.Topic("shop.closed"))
        cache.blocking.put("other", 1)
    yield tmp_path
    sys.modules.pop("shop", None)


def kept() -> set[str]:
    with Cache("sqlite:///cache.db") as cache:
        return {key for key in ("orders of ann", "orders of bob", "other") if cache.blocking.has(key)}


def stood_at() -> str:
    with Cache("sqlite:///cache.db") as cache:
        return cache.blocking.position().text


def test_messages_are_published_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """What they touch is out of date afterwards."""
    code = run(["replay", "shop:cache", "messages.jsonl"])

    assert (code, *capsys.readouterr()) == (0, "3 messages published, touching 2 entries; 0 bad lines.\n", "")
    assert kept() == {"other"}


def test_a_dry_run_touches_nothing_and_says_what_would_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even the position moves."""
    before = stood_at()

    code = run(["replay", "--dry-run", "shop:cache", "messages.jsonl"])

    assert code == 0
    assert capsys.readouterr().out == (
        "drop     orders of ann  2 messages\n"
        "           topic shop.order.* where order.buyer = ann (1)\n"
        "           topic shop.closed (1)\n"
        "drop     orders of bob  2 messages\n"
        "           topic shop.order.* where order.buyer = bob (1)\n"
        "           topic shop.closed (1)\n"
        "3 messages would touch 2 entries; 0 bad lines.\n"
    )
    assert stood_at() == before
    assert len(kept()) == 3


def test_a_dry_run_tells_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Each entry with how many messages reach it, what becomes of it, and why."""
    code = run(["replay", "--dry-run", "--json", "shop:cache", "messages.jsonl"])

    found = json.loads(capsys.readouterr().out)
    assert (code, found["n_messages"], found["n_bad_lines"]) == (0, 3, 0)
    assert found["entries"][0] == {
        "key": "orders of ann",
        "function": "",
        "fate": "drop",
        "n_messages": 2,
        "why": {"topic shop.order.* where order.buyer = ann": 1, "topic shop.closed": 1},
    }


def test_only_a_dry_run_is_told_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is published by mistake."""
    assert run(["replay", "--json", "shop:cache", "messages.jsonl"]) == 2
    assert "--json" in capsys.readouterr().err
    assert len(kept()) == 3


def test_what_is_suspect_comes_last_and_counts_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it is built again hangs on the values of others."""
    (folder / "shop.py").write_text(LAYERED)
    (folder / "messages.jsonl").write_text('{"topic": "shop.price"}\n' * 2 + '{"topic": "shop.layout"}\n')

    code = run(["replay", "--dry-run", "shop:cache", "messages.jsonl"])

    assert code == 0
    assert capsys.readouterr().out == (
        "refresh  page  3 messages\n"
        "           it was built from price, which is unsettled (2)\n"
        "           topic shop.layout (1)\n"
        "refresh  price  2 messages\n"
        "           topic shop.price (2)\n"
        "suspect  site  3 messages\n"
        "           it was built from page, which is unsettled (3)\n"
        "3 messages would touch 2 entries, and make 1 suspect; 0 bad lines.\n"
    )


@pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["publish", "dry-run"])
def test_bad_lines_are_named_and_passed_over(
    folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The others count, and the exit code says that some did not."""
    lines = MESSAGES.splitlines()
    (folder / "messages.jsonl").write_text("\n".join(["not json", lines[0], "", '{"body": {}}', '{"topic": "a b"}']))

    code = run(["replay", *options, "shop:cache", "messages.jsonl"])

    out, err = capsys.readouterr()
    assert code == 1
    assert [line.split(":")[0] for line in err.splitlines()] == ["line 1", "line 4", "line 5"]
    assert "this is not JSON" in err
    assert "topic: required, and missing" in err
    assert (
        out.splitlines()[-1]
        == {
            0: "1 message published, touching 1 entry; 3 bad lines.",
            1: "1 message would touch 1 entry; 3 bad lines.",
        }[len(options)]
    )


def test_a_long_file_is_published_in_several_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last message counts too."""
    n_messages = 2 * BATCH + 1
    lines = ['{"topic": "nothing"}'] * (n_messages - 1) + ['{"topic": "shop.closed"}']
    (folder / "messages.jsonl").write_text("\n".join(lines))

    assert run(["replay", "shop:cache", "messages.jsonl"]) == 0
    assert capsys.readouterr().out == f"{n_messages} messages published, touching 2 entries; 0 bad lines.\n"


def test_standard_input_is_a_file_too() -> None:
    """A recording can be piped; here into the command as people start it."""
    done = subprocess.run(
        [sys.executable, "-m", "everfresh", "replay", "shop:cache", "-"],
        input=MESSAGES,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "3 messages published, touching 2 entries; 0 bad lines.\n",
        "",
    )
    assert kept() == {"other"}


def test_ctrl_c_ends_the_reading_of_a_quiet_pipe(folder: Path) -> None:
    """The first one, and without a traceback."""
    # Not while the module is imported: in what ends an import Python drops an interrupt.
    (folder / "shop.py").write_text(
        "from everfresh import Cache\n"
        "class Loud(Cache):\n"
        "    def listen(self, listener):\n"
        "        print('ready', flush=True)\n"
        "        return super().listen(listener)\n"
        "cache = Loud('sqlite:///cache.db')\n"
    )
    command = [sys.executable, "-m", "everfresh", "replay", "shop:cache", "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        # The pipe stays open: only the signal can end it.
        code = child.wait(20)
        assert child.stderr is not None
        said = child.stderr.read()

    assert (code, said.strip()) == (1, "everfresh: stopped.")


def test_ctrl_c_counts_though_the_read_under_way_goes_on() -> None:
    """As when it comes in the moment before that read begins; here another thread is interrupted instead of it."""
    reading, writing = os.pipe()
    # The end of a test that fails.
    end = threading.Timer(20, os.close, [writing])
    end.start()
    main = threading.get_ident()

    def press() -> None:
        frames = sys._current_frames  # noqa: SLF001 - where the main thread is, nobody else can tell
        until(lambda: frames()[main].f_code is lines_of.__code__, what="the reading")
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with os.fdopen(reading, "rb") as file, pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come in either
        threading.Thread(target=press).start()
        next(lines_of(file))

    assert end.is_alive()
    end.cancel()
    os.close(writing)


@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"\na\n\nb", b"long" * 100_000 + b"\nend"])
def test_the_lines_are_those_of_the_file(folder: Path, text: bytes) -> None:
    """The last one needs no end."""
    (folder / "lines").write_bytes(text)

    with (folder / "lines").open("rb") as file:
        assert list(lines_of(file)) == text.removesuffix(b"\n").split(b"\n") * bool(text)


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("shop", ["module:attribute"]),
        (":cache", ["module:attribute"]),
        ("shop:", ["module:attribute"]),
        ("no_such_module:cache", ["no module 'no_such_module'", "folder"]),
        ("shop.pages:cache", ["no module 'shop.pages'"]),
        ("needy:cache", ["needs 'no_such_library'"]),
        ("broken:cache", ["ZeroDivisionError"]),
        ("shop:page", ["no 'page'", "shop:cache"]),
        ("shop:not_a_cache", ["is a int, not a Cache", "shop:cache"]),
        ("empty:cache", ["no 'cache'", "No cache"]),
    ],
)
def test_an_app_that_is_none_is_explained(
    folder: Path, app: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In one message, without a traceback, with what to do."""
    (folder / "needy.py").write_text("import no_such_library")
    (folder / "broken.py").write_text("1 / 0")
    (folder / "empty.py").write_text("")

    code = run(["replay", app, "messages.jsonl"])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert [word for word in words if word not in err.replace("\n", " ")] == []
    assert "Traceback" not in err


@pytest.mark.parametrize("file", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_explained(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is published."""
    code = run(["replay", "shop:cache", file])

    assert code == 2
    assert file in capsys.readouterr().err


def test_a_store_that_cannot_be_opened_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong is the store's message."""
    (folder / "shop.py").write_text("from everfresh import Cache\ncache = Cache('redis://nowhere')")

    code = run(["replay", "shop:cache", "messages.jsonl"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("everfresh: ")
    assert err.count("\n") == 1


def test_a_store_that_goes_away_says_how_far_it_came(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the rest can be replayed."""
    (folder / "messages.jsonl").write_text('{"topic": "t"}\n' * (BATCH + 1))
    (folder / "shop.py").write_text(
        "from everfresh import Cache\n"
        "cache = Cache()\n"
        "cache.listen(lambda notice: cache.close())\n"  # as soon as the first events are applied
    )

    code = run(["replay", "shop:cache", "messages.jsonl"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("everfresh: ")
    assert err.endswith(f"Published before that: {BATCH}.\n")


def test_a_real_bus_is_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """284 messages of Fedora's bus, and the entry that depends on some of them."""
    messages = str(recorded_bus())
    with Cache("sqlite:///cache.db") as cache:
        cache.blocking.put("bugs", 1, dep.Topic("org.fedoraproject.*.bugzilla.#"))
        cache.blocking.put("lmacken", 1, dep.Topic("#", where={"override.submitter.name": "lmacken"}))

    assert run(["replay", "--dry-run", "shop:cache", messages]) == 0
    looked_at, err = capsys.readouterr()
    sys.modules.pop("shop")  # as in another process: its cache was closed
    assert run(["replay", "shop:cache", messages]) == 0
    published, more_err = capsys.readouterr()

    assert "\n           topic org.fedoraproject.*.bugzilla.# (" in looked_at
    assert err + more_err == ""
    assert looked_at.endswith("284 messages would touch 2 entries; 0 bad lines.\n")
    assert published == "284 messages published, touching 2 entries; 0 bad lines.\n"


def test_the_input_may_be_endless(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that goes on is published as it comes, not at its end."""
    with Cache("sqlite:///cache.db") as watch:

        class Pipe(io.RawIOBase):
            n_lines = 0

            def readline(self, size: int | None = -1) -> bytes:
                self.n_lines += 1
                if self.n_lines == BATCH + 1:
                    assert not watch.blocking.has("orders of ann")
                    return b""
                return b'{"topic": "shop.closed"}\n'

        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Pipe()))
        code = run(["replay", "shop:cache", "-"])

    assert code == 0


def test_messages_send_nothing_to_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the keys that they touch, nor the lines that hold none."""
    evil = "\x1b[2J\n\u202e"
    with Cache("sqlite:///cache.db") as cache:
        cache.blocking.put(f"key{evil}", 1, dep.Topic("shop.#"))
    lines = [{"topic": "shop.order"}, {"topic": f"shop.{evil}"}, {"topic": "shop.x", "id": {evil: 1}}]
    (folder / "evil.jsonl").write_text("\n".join(map(json.dumps, lines)))

    code = run(["replay", "shop:cache", "evil.jsonl", "--dry-run"])

    out, err = capsys.readouterr()
    assert code == 1
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert r"drop     key\x1b[2J\n\u202e  1 message" in out.split("\n")
    assert len(err.split("\n")) == 2 + 1
