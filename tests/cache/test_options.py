"""Options that cannot hold are refused where they are given, in words that say what to give instead."""
# ruff: noqa: ANN401 - values of any type are what is tested

from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from everfresh import (
    FOREVER,
    Cache,
    EverfreshError,
    InvalidDependency,
    InvalidOption,
    StoreForeign,
    StoreUnavailable,
    StoreUrlInvalid,
)
from everfresh.refresh import Worker
from tests.cache.fixtures import OpenCache


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lease", timedelta(0)),
        ("lease", timedelta(milliseconds=99)),
        ("lease", timedelta(seconds=-1)),
        ("lease", FOREVER),
        ("lease", 5),
        ("lease", None),
        ("wait_timeout", timedelta(seconds=-1)),
        ("wait_timeout", 5),
        ("near", -1),
        ("near", 1.5),
        ("near", "many"),
        ("near", None),
        ("near", True),
        ("max_entries", 0),
        ("max_entries", 1.5),
        ("max_bytes", -1),
        ("max_bytes", "1 GB"),
        ("max_generations", 0),
        ("max_generations", None),
    ],
    ids=repr,
)
def test_an_option_of_a_cache_that_cannot_hold_is_refused(option: str, value: Any) -> None:
    """By its name."""
    with pytest.raises(InvalidOption, match=rf"^{option}\b"):
        Cache("memory:", **{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("stale_while_revalidate", timedelta(seconds=-1)),
        ("stale_while_revalidate", 30),
        ("stale_while_revalidate", None),
        ("stale_if_error", timedelta(microseconds=-1)),
        ("stale_if_error", "1h"),
        ("on_change", "rebuild"),
        ("on_change", None),
        ("max_attempts", 0),
        ("max_attempts", -1),
        ("max_attempts", 1.5),
        ("max_attempts", "many"),
        ("expires", 0),
        ("expires", -1.5),
        ("expires", timedelta(0)),
        ("expires", "1h"),
        ("expires", True),
        ("expires", float("nan")),
        ("cache_errors", KeyError),
        ("cache_errors", (KeyboardInterrupt,)),
        ("cache_errors", ("KeyError",)),
        ("cache_errors", (KeyError("a"),)),
        ("should_refresh", "always"),
        ("topics", ("shop.*",)),
        ("keep_warm", timedelta(0)),
        ("keep_warm", 60),
        ("settle", timedelta(seconds=2)),
        ("settle", (2, 30)),
        ("settle", (timedelta(0),)),
        ("settle", (timedelta(seconds=2), timedelta(seconds=2))),
        ("settle", (timedelta(seconds=30), timedelta(seconds=2))),
        ("settle", (FOREVER,)),
        ("settled", lambda event, value: True),
        ("settled", "yes"),
        ("debounce", timedelta(seconds=-1)),
        ("debounce", FOREVER),
        ("debounce", None),
        ("max_wait", timedelta(seconds=5)),
        ("priority", 1.5),
        ("priority", None),
        ("priority", True),
        ("job_expires", timedelta(0)),
        ("job_expires", 60),
        ("concurrency", 0),
        ("concurrency", 1.5),
        ("rate", 0),
        ("rate", -1.0),
        ("rate", float("inf")),
        ("rate", float("nan")),
        ("rate", True),
        ("rate", timedelta(seconds=1)),
        ("wait_timeout", timedelta(seconds=-1)),
        ("wait_timeout", 5),
        ("secret", "token"),
        ("version", None),
        ("version", "two"),
        ("key", 5),
        ("ignore", 5),
        ("inherit", ContextVar("user")),
        ("inherit", ("user",)),
        ("inherit", 5),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_an_option_of_a_function_that_cannot_hold_is_refused(cache: Cache, option: str, value: Any) -> None:
    """By its name, at the declaration."""

    def function() -> int:
        return 1

    with pytest.raises(InvalidOption, match=option):
        cache.cached(**{option: value})(function)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"debounce": timedelta(seconds=5), "max_wait": timedelta(seconds=4)},
            "max_wait: 4 s is shorter than debounce, 5 s",
        ),
        ({"should_refresh": lambda event: True}, "should_refresh would run for every event"),
        ({"should_refresh": lambda event: True, "topics": "shop.*"}, "with the comma"),
        ({"should_refresh": lambda: True, "topics": ("shop.*",)}, r"called with \(event\)"),
        ({"should_refresh": lambda event, number: True, "topics": ("shop.*",)}, r"called with \(event\)"),
        ({"settled": 7, "settle": (timedelta(seconds=2),)}, "settled: 7 is no function"),
    ],
    ids=["max_wait", "no-topics", "topics-text", "no-event", "another-argument", "settled"],
)
def test_options_that_do_not_go_together_are_refused(cache: Cache, options: dict[str, Any], problem: str) -> None:
    """The message says which, and what to give."""

    def function() -> int:
        return 1

    with pytest.raises(InvalidOption, match=problem):
        cache.cached(**options)(function)


def test_a_predicate_that_has_to_be_awaited_is_refused(cache: Cache) -> None:
    """It runs in triage, which waits for nobody; and a coroutine would always count as yes."""

    async def should_refresh(event: object) -> bool:
        return True

    def function() -> int:
        return 1

    with pytest.raises(InvalidOption, match="no plain function"):
        cache.cached(should_refresh=should_refresh, topics=("shop.*",))(function)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("topic", ["shop order", "", "shop..paid"])
def test_a_topic_that_is_no_pattern_is_refused(cache: Cache, topic: str) -> None:
    """No event would ever meet it."""

    def function() -> int:
        return 1

    with pytest.raises(InvalidDependency):
        cache.cached(should_refresh=lambda event: True, topics=(topic,))(function)


@pytest.mark.parametrize("what", ["cached", "cached_many"])
def test_an_option_that_there_is_not_is_refused(cache: Cache, what: str) -> None:
    """By its name, with the names of those that there are."""
    with pytest.raises(TypeError, match=f"{what}: there is no option 'ttl'.*stale_if_error"):
        getattr(cache, what)(ttl=30)


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, "many", None, True], ids=repr)
def test_a_worker_that_would_build_nothing_is_refused(cache: Cache, concurrency: Any) -> None:
    """Its entries would never become fresh."""
    with pytest.raises(InvalidOption, match="concurrency"):
        Worker(cache, concurrency=concurrency)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:x",
        "memory://",
        "cache.db",
        "./cache.db",
        "C:\\cache.db",
        "sqlite",
        "sqlite:",
        "sqlite:cache.db",
        "sqlite:/cache.db",
        "sqlite://cache.db",
        "sqlite://host/cache.db",
        "sqlite:///",
        "sqlite:///cache.db?mode=ro",
        "sqlite:///cache.db#x",
        "sqlite:///cache\0.db",
        "mysql://localhost/cache",
        "mysql://[::1",
        "http://localhost",
        None,
        5,
        b"memory:",
        Path("cache.db"),
    ],
    ids=repr,
)
def test_a_url_that_names_no_store_is_refused(url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message shows URLs that would do; no file is made."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StoreUrlInvalid, match=r"sqlite:///cache\.db"):
        Cache(url)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@host/0",
        "mysql://:hunter2@host/0",
        "mysql://user:a@hunter2@host/0",
        "mysql://host/0?password=hunter2",
        "mysql://user:hunter2@[::1",
        "sqlite://user:hunter2@host/cache.db",
        "sqlite:///cache.db?password=hunter2",
        "user:hunter2@host",
    ],
)
def test_a_password_in_a_url_is_never_shown(url: str) -> None:
    """An error ends up in logs and bug reports."""
    with pytest.raises(EverfreshError) as raised:
        Cache(url)

    assert "hunter2" not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_three_slashes_name_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As other URLs for SQLite do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    with Cache("sqlite:///data/my%20cache.db"):
        pass

    assert (tmp_path / "data" / "my cache.db").exists()


def test_four_slashes_name_a_path_from_the_root(tmp_path: Path) -> None:
    """Whatever the current folder is."""
    with Cache(f"sqlite:///{tmp_path}/cache.db"):
        pass

    assert (tmp_path / "cache.db").exists()


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Nobody wants folders made by a typing mistake."""
    with pytest.raises(StoreUnavailable, match=r"there is no folder .*nowhere"):
        Cache(f"sqlite:///{tmp_path}/nowhere/cache.db")


def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    """Whatever it is, it was not ours to write into."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, and longer than any header would be\n" * 50)
    before = path.read_bytes()

    with pytest.raises(StoreForeign, match=r"notes\.txt"):
        Cache(f"sqlite:///{path}")

    assert path.read_bytes() == before


def test_a_near_cache_of_one_holds_one_value(open_cache: OpenCache, url: str) -> None:
    """And every value stays right."""
    cache = open_cache(url, near=1)

    @cache.cached
    def double(n: int) -> int:
        return 2 * n

    values = [double(n) for n in (1, 2, 3) * 4]

    assert (values, len(cache.engine.near)) == ([2, 4, 6] * 4, 1)


def test_what_is_used_stays_in_a_full_near_cache(open_cache: OpenCache, url: str) -> None:
    """What was not used since the last look goes first; a shared value shows which are held."""
    cache = open_cache(url, near=2)

    @cache.cached
    def text(n: int) -> str:
        return f"{n}" * 1_000

    for n in (1, 1, 2, 2, 1, 3, 3):
        text(n)

    assert text(1) is text(1)
