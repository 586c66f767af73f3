"""Looking after a store: another number of shards."""

import pytest

from everfresh.cli.commands import run
from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, Terms
from everfresh.protocol.inspecting import Count, Explain
from everfresh.stores.urls import open_store
from everfresh.testing.by_hand import ByHand
from tests.redis_servers import RedisServer, new_prefix

A = Tag("a")


def test_a_store_is_divided_anew(shared_redis: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    """All that has a function waits to be built, under its own terms; nothing of what was is left."""
    url = f"{shared_redis.url}?prefix={new_prefix()}"
    store = open_store(f"{url}&shards=4")
    hand = ByHand(store)
    hand.build("in", 1, A)
    hand.build("out", 1, seen={"in": 1}, terms=Terms(priority=3))
    hand.put("put", 1)
    store.close()

    assert run(["admin", "reshard", url, "--from", "4", "--to", "16", "--yes"]) == 0

    assert capsys.readouterr().out.startswith("16 shards: 2 entries wait to be built, 1 put values are gone")
    store = open_store(f"{url}&shards=16")
    hand = ByHand(store)
    assert store.carry_out(Count()).n_built == 0
    explained = store.carry_out(Explain(Key("out")))
    assert explained is not None
    assert explained.terms.priority == 3
    assert sorted(due.lease.key for due in hand.take()) == ["in", "out"]
    store.close()


def test_to_one_and_back(shared_redis: RedisServer) -> None:
    """One shard is a number like any other."""
    url = f"{shared_redis.url}?prefix={new_prefix()}"
    for n_before, n_after in ((1, 3), (3, 1)):
        store = open_store(f"{url}&shards={n_before}")
        ByHand(store).build("k", 1, A)
        store.close()
        assert run(["admin", "reshard", url, "--from", str(n_before), "--to", str(n_after), "--yes"]) == 0
        store = open_store(f"{url}&shards={n_after}")
        assert store.carry_out(Count()).n_known == 1
        store.close()


def test_the_number_that_it_has_must_be_right(shared_redis: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Else most entries would not be found, and lost."""
    url = f"{shared_redis.url}?prefix={new_prefix()}"
    store = open_store(f"{url}&shards=4")
    ByHand(store).build("k", 1)
    store.close()

    assert run(["admin", "reshard", url, "--from", "8", "--to", "16", "--yes"]) == 1

    assert "4 shards" in capsys.readouterr().err


def test_only_redis_has_shards(capsys: pytest.CaptureFixture[str]) -> None:
    """Any other URL is refused."""
    assert run(["admin", "reshard", "sqlite:///cache.db", "--from", "2", "--to", "1", "--yes"]) == 2
    assert "only stores on Redis" in capsys.readouterr().err


def test_a_url_that_names_no_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked."""
    assert run(["admin", "reshard", "redis://localhost/abc", "--from", "2", "--to", "1"]) == 2
    assert "the database is a number" in capsys.readouterr().err


def test_nothing_is_divided_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, the answer has to be given before."""
    assert run(["admin", "reshard", "redis://localhost:1/0", "--from", "2", "--to", "1"]) == 2
    assert "give --yes" in capsys.readouterr().err
