"""Conformance 10: lists by several fields."""

from collections.abc import Callable

import pytest

from everfresh import Cache
from tests.conformance.library import WAYS, Book, Lists, Told, described


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_unpublishing_drops_exactly_the_two_lists_between_which_the_book_moves(
    cache: Cache, way: Callable[[Cache], Told]
) -> None:
    """10: (its category, True) loses it, (its category, False) gains it; every other combination stays."""
    scopes = described()
    lists = Lists(
        cache,
        sci_fi_out=scopes.condition(category="sci-fi", published=True),
        sci_fi_in_work=scopes.condition(category="sci-fi", published=False),
        fantasy_out=scopes.condition(category="fantasy", published=True),
        fantasy_in_work=scopes.condition(category="fantasy", published=False),
    )
    tell = way(cache)

    dropped = lists.dropped_by(lambda: tell(Book(1, "sci-fi", published=True), Book(1, "sci-fi", published=False)))

    assert dropped == {"sci_fi_out", "sci_fi_in_work"}
