"""What can be no key is told of alike by every store, before it is asked."""
# ruff: noqa: ANN401 - mistakes of any type are what is tested

from typing import Any

import pytest

from everfresh import Cache, InvalidOption, Key, NotInCache
from everfresh.protocol.inspecting import Explain
from tests.cache.by_hand import ByHand

# As Python reads the name of a file that is not UTF-8.
HALF_A_PAIR = "menu-\udcff"


@pytest.mark.parametrize("operation", ["get", "explain"])
async def test_what_no_store_can_hold_is_not_there(by_hand: ByHand, operation: str) -> None:
    """A key with half a surrogate pair cannot be written as UTF-8, so nobody ever put it."""
    with pytest.raises(NotInCache, match=r"udcff.* is not in the cache"):
        await getattr(by_hand, operation)(HALF_A_PAIR)


@pytest.mark.parametrize(("operation", "answer"), [("has", False), ("stored", None), ("delete", 0), ("retry", 0)])
async def test_nor_is_there_anything_to_do_with_it(by_hand: ByHand, operation: str, answer: object) -> None:
    """The other keys of the call are seen to all the same."""
    assert await getattr(by_hand, operation)(HALF_A_PAIR) == answer


async def test_the_other_keys_of_a_call_are_deleted(by_hand: ByHand) -> None:
    """In a transaction, too."""
    for key in "ab":
        await by_hand.put(key, 1)

    n_deleted = await by_hand.delete("a", HALF_A_PAIR)
    async with by_hand.block():
        n_held = await by_hand.delete("b", HALF_A_PAIR)

    assert (n_deleted, n_held, await by_hand.entries()) == (1, 1, [])


async def test_a_build_may_look_for_it(cache: Cache) -> None:
    """What cannot be there cannot come, so the build does not hang on it."""

    @cache.cached
    def value() -> bool:
        return cache.blocking.has(HALF_A_PAIR)

    assert value() is False
    assert value.explain().dependencies == ()


async def test_nobody_can_watch_it(cache: Cache) -> None:
    """Who asks for it does not keep the store from being told of the others."""
    await cache.put("menu", 1)

    with cache.watching(Key(HALF_A_PAIR), Key("menu")):
        cache.engine.attention.flush()
    known = cache.engine.store.carry_out(Explain(Key("menu")))

    assert known is not None
    assert known.watched_until > 0


@pytest.mark.parametrize("keys", [["a"], ("a",), {"a"}], ids=repr)
@pytest.mark.parametrize("operation", ["delete", "retry"])
async def test_a_list_of_keys_is_to_be_unpacked(by_hand: ByHand, operation: str, keys: Any) -> None:
    """The message says how it is written."""
    with pytest.raises(InvalidOption, match=rf"{operation}: .* Write {operation}\(\*keys\)\."):
        await getattr(by_hand, operation)(keys)


@pytest.mark.parametrize("key", [42, None, b"a"], ids=repr)
@pytest.mark.parametrize("operation", ["get", "has", "stored", "explain", "delete", "retry", "put"])
async def test_only_a_text_is_a_key(by_hand: ByHand, operation: str, key: Any) -> None:
    """`"42"` and 42 would be one in one store and two in another."""
    arguments = (key, 1) if operation == "put" else (key,)

    with pytest.raises(InvalidOption, match=f"{operation}: {key!r} is no key"):
        await getattr(by_hand, operation)(*arguments)


def test_a_key_named_by_hand_must_be_one(cache: Cache) -> None:
    """Told at the declaration, not by the store at the first call."""

    def menu(day: int) -> int:
        return day

    with pytest.raises(InvalidOption, match=r"udcff.*cannot be written as UTF-8"):
        cache.cached(key=HALF_A_PAIR + "{day}")(menu)
