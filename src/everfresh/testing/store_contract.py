"""The contract of a store, as a suite of tests that the author of an adapter inherits.

    class TestMyStore(LastingStoreContract):
        @pytest.fixture
        def open_store(self, tmp_path: Path) -> OpenStore:
            return lambda clock: MyStore(tmp_path / "cache", clock=clock)

        @pytest.fixture
        def make_store(self, tmp_path: Path) -> MakeStore:
            return lambda clock, room: MyStore(tmp_path / "bounded", clock=clock, room=room)

The file of an adapter's tests adds only what is peculiar to it. Some tests are coroutines: run them with pytest-asyncio
in its mode `auto`.
"""

from __future__ import annotations

from everfresh.testing.contract.applying import ApplyContract
from everfresh.testing.contract.asking import AskContract
from everfresh.testing.contract.bounding import BoundContract
from everfresh.testing.contract.commits import CommitContract
from everfresh.testing.contract.ending import EndContract
from everfresh.testing.contract.failing import FailContract
from everfresh.testing.contract.feeding import FeedContract
from everfresh.testing.contract.filtering import FilterContract
from everfresh.testing.contract.fixtures import MakeStore, OpenStore
from everfresh.testing.contract.judging import JudgeContract
from everfresh.testing.contract.kinds import KindContract
from everfresh.testing.contract.lasting import LastingContract
from everfresh.testing.contract.leases import LeaseContract
from everfresh.testing.contract.pacing import PaceContract
from everfresh.testing.contract.putting import PutContract
from everfresh.testing.contract.queueing import QueueContract
from everfresh.testing.contract.reasons import ReasonContract
from everfresh.testing.contract.settling import SettleContract
from everfresh.testing.contract.sourcing import SourceContract
from everfresh.testing.contract.spreading import SpreadContract
from everfresh.testing.contract.telling import TellContract
from everfresh.testing.contract.tending import TendContract
from everfresh.testing.contract.timing import TimingContract
from everfresh.testing.contract.trickling import TrickleContract

__all__ = ["LastingStoreContract", "MakeStore", "OpenStore", "StoreContract"]


class StoreContract(
    LeaseContract,
    CommitContract,
    KindContract,
    SpreadContract,
    ApplyContract,
    FilterContract,
    JudgeContract,
    ReasonContract,
    EndContract,
    FailContract,
    QueueContract,
    TimingContract,
    SettleContract,
    PaceContract,
    TendContract,
    AskContract,
    BoundContract,
    FeedContract,
    PutContract,
    TellContract,
    SourceContract,
    TrickleContract,
):
    """What each store promises."""


class LastingStoreContract(StoreContract, LastingContract):
    """What a store promises that survives its process and is shared by several."""
