"""Is a list right when an item entered or left it?

Items stand in lists: those of a section whose price is less than a limit, cached for two sections and two limits. An
item is made, changed or deleted, the library is told as its documentation says, and all lists are read again. One that
still has an item which left it, or lacks one that entered it, is wrong.

A library that finds the lists by itself is given the item before and after, or the saved row. With tags, the
application names the lists' tags itself: `section:a`, for the section the item was in and for the one it is in now.
Tags cannot say *less than*, so all lists of a section go with each of its items: that is not wrong, but it is work,
and the last row counts it.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise, product
from types import ModuleType
from typing import Any

from benchmarks.races.scenario import Caller, Cell, held, judged, not_offered, opened

TITLE = "Filtered lists"
N_AT_ONCE = 2
ROWS = {
    "entering": "an item enters a list",
    "leaving": "an item leaves a list",
    "moving": "an item moves from one list to another",
    "needless": "lists built again that no change touched: work, no fault",
}
_LISTS = tuple(product(("a", "b"), (10, 100)))

Item = dict[str, Any]
Change = tuple[Item | None, Item | None]


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """Each kind of change with so many items."""
    with opened(peer, place) as caller:
        if not caller.adapter.offers & {"lists", "tag_function", "tag"}:
            return dict.fromkeys(ROWS, not_offered("no lists, no tags"))
        shop = _Shop(caller)
        n_items = 1 if is_quick else 10
        cells = {
            kind: judged(*shop.wrong_after(changes_of, n_items), "wrong")
            for kind, changes_of in (("entering", _entering), ("leaving", _leaving), ("moving", _moving))
        }
        cells["needless"] = held(f"{shop.n_needless:,} of {shop.n_untouched:,}", n_bad=shop.n_needless)
        return cells


class _Shop:
    """The items, and how the lists of them are cached."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._items: dict[int, Item] = {}
        self._n_loads = 0
        self.n_needless = 0
        self.n_untouched = 0
        adapter = caller.adapter
        load = self._load_async if adapter.is_async else self._load
        self._finds = "lists" in adapter.offers
        if self._finds:
            self._listed = adapter.lists(load())
        elif "tag_function" in adapter.offers:
            self._listed = adapter.cached(load(), tags=("section:{section}",))
        else:
            self._listed = self._by_hand(load())

    def _load(self) -> Callable[[str, int], list[int]]:
        def listed(section: str, limit: int) -> list[int]:
            self._n_loads += 1
            return self._truth(section, limit)

        return listed

    def _load_async(self) -> Callable[[str, int], Any]:
        load = self._load()

        async def listed(section: str, limit: int) -> list[int]:
            return load(section, limit)

        return listed

    def _by_hand(self, load: Callable[[str, int], Any]) -> Callable[[str, int], Any]:
        def listed(section: str, limit: int) -> Any:
            key, tags = f"{section}:{limit}", (f"section:{section}",)
            return self._caller.aside(key, load, section, limit, tags=tags)()

        return listed

    def _truth(self, section: str, limit: int) -> list[int]:
        items = self._items.values()
        return sorted(item["id"] for item in items if item["section"] == section and item["price"] < limit)

    def wrong_after(self, changes_of: Callable[[int], Iterator[Change]], n_items: int) -> tuple[int, int]:
        """How many lists were wrong after the changes, of how many that were looked at."""
        n_wrong = n_seen = 0
        for number in range(n_items):
            for before, after in changes_of(number + 1):
                n_wrong += self._wrong_after(before, after)
                n_seen += len(_LISTS)
        return n_wrong, n_seen

    def _wrong_after(self, before: Item | None, after: Item | None) -> int:
        if before is not None and before["id"] not in self._items:
            self._change(None, before)
        self._read_all()
        were = {one: self._truth(*one) for one in _LISTS}
        self._change(before, after)
        n_touched = sum(self._truth(*one) != was for one, was in were.items())
        n_loads = self._n_loads
        seen = self._read_all()
        n_wrong = sum(found != self._truth(*one) for one, found in seen.items())
        # What is wrong was not built again; all that was beyond the touched ones was in vain.
        self.n_needless += max(self._n_loads - n_loads - (n_touched - n_wrong), 0)
        self.n_untouched += len(_LISTS) - n_touched
        return n_wrong

    def _read_all(self) -> dict[tuple[str, int], list[int]]:
        return {one: self._caller(self._listed, *one) for one in _LISTS}

    def _change(self, before: Item | None, after: Item | None) -> None:
        if before is not None:
            self._items.pop(before["id"], None)
        if after is not None:
            self._items[after["id"]] = after
        adapter = self._caller.adapter
        if self._finds:
            self._caller(adapter.item_changed, before, after)
            return
        for section in sorted({image["section"] for image in (before, after) if image is not None}):
            self._caller(adapter.invalidate_tag, f"section:{section}")


def _item(number: int, section: str, price: int) -> Item:
    return {"id": number, "section": section, "price": price}


def _changes(*images: Item | None) -> Iterator[Change]:
    yield from pairwise(images)


def _with(item: Item, changes: Mapping[str, Any]) -> Item:
    return {**item, **changes}


def _entering(number: int) -> Iterator[Change]:
    """Made outside of all lists, then cheap enough for one, then for both; and one that is made in both."""
    dear = _item(number, "a", 500)
    yield from _changes(None, dear, _with(dear, {"price": 50}), _with(dear, {"price": 5}))
    yield None, _item(number + 1_000, "a", 5)


def _leaving(number: int) -> Iterator[Change]:
    """Too dear for one list, then for both, and cheap again; then it is deleted."""
    cheap = _item(number, "a", 5)
    yield from _changes(cheap, _with(cheap, {"price": 50}), _with(cheap, {"price": 500}))
    yield _item(number + 1_000, "a", 5), None


def _moving(number: int) -> Iterator[Change]:
    """From section to section and back, with and without its price."""
    dear = _item(number, "a", 500)
    cheap = _with(dear, {"price": 5})
    there = _with(cheap, {"section": "b"})
    yield from _changes(dear, cheap, there, _with(there, {"section": "a", "price": 50}), dear)
