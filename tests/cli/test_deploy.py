"""The examples in deploy/ start processes that there are, with options that these take."""

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh.cli.commands import everfresh

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
YAML = [DEPLOY / "compose.yaml", *sorted(DEPLOY.glob("kubernetes/*.yaml"))]
LINK = re.compile(r"\]\((?P<target>[^)]+)\)")
LISTED = re.compile(r"^\s*command: (?P<words>\[.*\])$", re.MULTILINE)
# A key with or without a value, an element of a list, a comment, the end of a document, or nothing.
LINE = re.compile(r"(?P<indent> *)(?:(?:- )?(?:[\w<./-]+:(?: \S.*)?)|- \S.*|#.*|---)?")


def name_of(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def unit(path: Path) -> configparser.ConfigParser:
    """A unit; systemd's form is almost that of Python's."""
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read_string(path.read_text("utf-8"))
    return parser


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of ours in the examples, with the file that it stands in."""
    for path in UNITS:
        yield name_of(path), shlex.split(unit(path)["Service"]["ExecStart"].replace("%i", "8000"))
    for path in YAML:
        for found in LISTED.finditer(path.read_text("utf-8")):
            yield name_of(path), json.loads(found["words"])
    for line in (DEPLOY / "Procfile").read_text("utf-8").splitlines():
        yield "Procfile", shlex.split(line.partition(": ")[2].replace("$PORT", "5000"))


OURS = [(where, words) for where, words in commands() if words[0].endswith("everfresh")]


@pytest.mark.parametrize(("where", "words"), OURS, ids=[f"{where}-{words[1]}" for where, words in OURS])
def test_a_command_is_one_that_there_is(where: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option is known and each value taken; the applications are the reader's own, as are the sources."""
    monkeypatch.setenv("EVERFRESH_SOURCES", "amqp://broker/shop nats://broker")
    command = everfresh.commands[words[1]]

    context = command.make_context(words[1], words[2:])

    assert context.params["log_format"] == "json"
    apps = {"worker": "shop.pages:cache", "consume": "shop.pages:cache", "web": "shop.web:app"}
    assert context.params["app"] == apps[words[1]]


def test_no_source_stands_in_a_command_line() -> None:
    """Everybody on the machine may read it, and there is a password in it; the environment names them."""
    texts = [path.read_text("utf-8") for path in (*YAML, DEPLOY / "systemd" / "everfresh-consumer@.service")]

    assert [words for _, words in OURS if "--source" in words] == []
    assert sum("EVERFRESH_SOURCES" in text for text in texts) == 3


def test_each_way_starts_processes_of_all_kinds() -> None:
    """Whoever starts from an example has each of them."""
    ways = {(where.partition("/")[0], words[1]) for where, words in OURS}

    assert ways == {
        (way, part)
        for way in ("systemd", "kubernetes", "compose.yaml", "Procfile")
        for part in ("worker", "consume", "web")
    }


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_a_unit_says_what_systemd_needs(path: Path) -> None:
    """It is told when the process is ready, waits for its end, and starts it again."""
    service = unit(path)["Service"]

    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    assert int(service["TimeoutStopSec"]) >= 2
    # Told after half of it; a worker's loop may be quiet for 30 seconds.
    assert int(service["WatchdogSec"]) >= 30
    assert "%i" in path.read_text("utf-8")


@pytest.mark.parametrize("path", YAML, ids=name_of)
def test_yaml_is_in_form(path: Path) -> None:
    """Two spaces a level, no tabs, each line a key or an element, each list in brackets closed."""
    lines = path.read_text("utf-8").splitlines()

    bad = [line for line in lines if (found := LINE.fullmatch(line)) is None or len(found["indent"]) % 2]
    open_lists = [line for line in lines if line.count("[") != line.count("]") or line.count("{") != line.count("}")]

    assert (bad, open_lists) == ([], [])


def test_probes_ask_what_is_answered() -> None:
    """At the port where health is."""
    for path in DEPLOY.glob("kubernetes/*.yaml"):
        text = path.read_text("utf-8")
        assert re.findall(r"httpGet: \{path: (\S+), port: health\}", text) == ["/live", "/ready"]
        assert "containerPort: 8078" in text
        assert '"--health", "0.0.0.0:8078"' in text


def test_redis_evicts_nothing_and_appends() -> None:
    """Else its own eviction would break the index, and a restart would lose all."""
    (store,) = [words for _, words in commands() if words[0] == "redis-server"]

    options = dict(zip(store[1::2], store[2::2], strict=True))
    assert (options["--maxmemory-policy"], options["--appendonly"]) == ("noeviction", "yes")


def test_the_links_of_the_readme_lead_somewhere() -> None:
    """And it names each example."""
    targets = {found["target"] for found in LINK.finditer((DEPLOY / "README.md").read_text("utf-8"))}

    assert {target for target in targets if not (DEPLOY / target).exists()} == set()
    assert {path.name for path in DEPLOY.iterdir()} - {"README.md"} <= targets
