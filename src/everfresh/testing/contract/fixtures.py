"""What every part of the contract is given: a clock that stands still, a store, and hands to ask it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everfresh.model.clock import Clock
from everfresh.stores.store import Store
from everfresh.stores.tables import Room
from everfresh.testing.by_hand import ByHand
from everfresh.testing.clock import FakeClock

OpenStore = Callable[[Clock], Store]
MakeStore = Callable[[Clock, Room], Store]


class StoreFixtures:
    """An adapter's test class overrides `open_store`, and `make_store` if its store can be bounded."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """How to open the store. Called again within one test, it opens the same data once more, as a restart does.

        Raises:
            NotImplementedError: the adapter's test class did not override this fixture.
        """
        msg = f"{type(self).__name__}: override the fixture open_store."
        raise NotImplementedError(msg)

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:  # noqa: ARG002 - whoever overrides it may need a place
        """How to make a store that holds no more than there is room for; without it those tests are passed over."""
        pytest.skip(f"{type(self).__name__} does not override the fixture make_store: its store has no bounds.")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The store's clock."""
        return FakeClock()

    @pytest.fixture
    def store(self, open_store: OpenStore, clock: FakeClock) -> Iterator[Store]:
        """A store, empty at first."""
        store = open_store(clock)
        yield store
        store.close()

    @pytest.fixture
    def hand(self, store: Store) -> ByHand:
        """Asks the store."""
        return ByHand(store)
