"""The store in memory, held to the contract."""

import pytest

from everfresh.stores.memory import MemoryStore
from everfresh.testing.store_contract import OpenStore, StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        return lambda clock: MemoryStore(clock=clock)
