"""The rows themselves: what they measure of an adapter, and what they refuse to measure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from benchmarks.peers.adapter import Adapter
from benchmarks.rows import hits, invalidation, memory, readers, writes
from benchmarks.rows.limits import DictLimit, FileLimit
from benchmarks.rows.session import Session


class Remembering(Adapter):
    """Keeps what it is given for ever, whatever anybody says."""

    offers = frozenset({"function", "tag_function"})

    def __init__(self) -> None:
        self.kept: dict[tuple[object, ...], object] = {}

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        def call(*args: object) -> object:
            key = (body.__name__, *args)
            if key not in self.kept:
                self.kept[key] = body(*args)
            return self.kept[key]

        return call

    def invalidate_call(self, function: Callable[..., Any], *args: object) -> None:
        """It heard that."""

    def invalidate_tag(self, tag: str) -> None:
        """It heard that."""

    def close(self) -> None:
        """Nothing runs."""


class Silent(Adapter):
    """Offers nothing."""

    def close(self) -> None:
        """Nothing runs."""


def module_of(adapter: type[Adapter]) -> SimpleNamespace:
    return SimpleNamespace(open_peer=lambda _place: adapter())


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    return {"folder": str(tmp_path), "redis_url": "", "store": "memory"}


def test_what_still_serves_old_values_has_no_figure(place: dict[str, str]) -> None:
    """An invalidation that does nothing would be the fastest of all."""
    answer = invalidation.main(module_of(Remembering), n_most=1, **place)

    assert answer["empty"]["1 entry"] == "the old values were still served"
    assert "1 entry" not in answer["figures"]


def test_stale_calls_are_counted(place: dict[str, str]) -> None:
    """A call that begins after the invalidation is back has to give the new value."""
    answer = readers.main(module_of(Remembering), run_s=0.1, **place)

    assert answer["figures"]["stale calls"] > 0


@pytest.mark.parametrize("work", [hits, writes, invalidation, readers, memory])
def test_what_is_not_offered_is_empty_with_a_reason(work: ModuleType, place: dict[str, str]) -> None:
    """Nothing is made up for a library, and no row breaks for what one lacks."""
    answer = work.main(module_of(Silent), **place)

    assert answer["figures"] == {}
    assert answer["empty"]
    assert all(why.startswith("offers no ") for why in answer["empty"].values())


def test_the_object_that_is_kept_and_shared_is_noticed(place: dict[str, str]) -> None:
    """Rows of mutable values are compared with those only who give each caller a value of its own."""
    session = Session(module_of(Remembering), **place)

    hits.timed_call(session, "small, mutable")

    assert session.end()["notes"]["shares"] is True


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_a_limit_keeps_reads_and_drops(kind: str, tmp_path: Path) -> None:
    """The bare bones do what the libraries do, or they would be no limit."""
    limit = DictLimit() if kind == "memory" else FileLimit(str(tmp_path))

    limit.write("one", 1, ["tag"])
    limit.write("two", 2)

    assert (limit.read("one"), limit.read("two")) == (1, 2)
    limit.drop("tag")
    left = limit.read_many(["one", "two"])
    assert list(left.values() if isinstance(left, dict) else left) in ([None, 2], [2])
