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
        ("version", None),
        ("version", "two"),
        ("key", 5),
        ("ignore", 5),
        ("inherit", ContextVar("user")),
        ("inherit", ("user",)),
        ("inherit", 5),
    ],
    ids=lambda value: "ContextVar" if isinstance(value, ContextVar) else repr(value),
)
def test_an_option_of_a_function_that_cannot_hold_is_refused(cache: Cache, option: str, value: Any) -> None:
    """By its name, at the declaration."""

    def function() -> int:
        return 1

    with pytest.raises(InvalidOption, match=option):
        cache.cached(**{option: value})(function)


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
        "redis://[::1",
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
