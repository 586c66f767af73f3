"""The store in a SQLite file, held to the contract."""

from pathlib import Path

import pytest

from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.store_contract import LastingStoreContract, MakeStore, OpenStore


class TestSqliteStore(LastingStoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return lambda clock: SqliteStore(tmp_path / "cache.db", clock=clock)

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda clock, room: SqliteStore(tmp_path / "bounded.db", clock=clock, room=room)
