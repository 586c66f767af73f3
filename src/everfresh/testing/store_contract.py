"""The contract of a store, as a suite of tests that the author of an adapter inherits.

    class TestMyStore(LastingStoreContract):
        @pytest.fixture
        def open_store(self, tmp_path: Path) -> OpenStore:
            return lambda clock: MyStore(tmp_path / "cache", clock=clock)

The file of an adapter's tests adds only what is peculiar to it. Some tests are coroutines: run them with pytest-asyncio
in its mode `auto`.
"""

from __future__ import annotations

from everfresh.testing.contract.applying import ApplyContract
from everfresh.testing.contract.commits import CommitContract
from everfresh.testing.contract.failing import FailContract
from everfresh.testing.contract.feeding import FeedContract
from everfresh.testing.contract.fixtures import OpenStore
from everfresh.testing.contract.lasting import LastingContract
from everfresh.testing.contract.leases import LeaseContract
from everfresh.testing.contract.putting import PutContract
from everfresh.testing.contract.queueing import QueueContract
from everfresh.testing.contract.spreading import SpreadContract
from everfresh.testing.contract.telling import TellContract

__all__ = ["LastingStoreContract", "OpenStore", "StoreContract"]


class StoreContract(
    LeaseContract,
    CommitContract,
    SpreadContract,
    ApplyContract,
    FailContract,
    QueueContract,
    FeedContract,
    PutContract,
    TellContract,
):
    """What each store promises."""


class LastingStoreContract(StoreContract, LastingContract):
    """What a store promises that survives its process and is shared by several."""
