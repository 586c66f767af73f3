"""Conformance 9: a member that stays where it is touches who holds it, or watches the field."""

from collections.abc import Callable

import pytest

from everfresh import Cache, dep
from tests.conformance.library import WAYS, Book, Lists, Told, by_rows, described

BOOK = Book(1, "sci-fi", title="old")
EDITED = Book(1, "sci-fi", title="new")


def test_editing_the_title_drops_the_lists_that_hold_the_book(cache: Cache) -> None:
    """9: by its `Id`; a list of the same category that holds another book stays."""
    by_category = dep.Scope("book", {"category": "sci-fi"})
    lists = Lists(
        cache,
        holding=(by_category, dep.Id("book", 1)),
        holding_both=(by_category, dep.Id("book", 1), dep.Id("book", 2)),
        holding_another=(by_category, dep.Id("book", 2)),
        by_category=by_category,
        whole=dep.Scope("book"),
        fantasy=dep.Scope("book", {"category": "fantasy"}),
    )

    assert lists.dropped_by(lambda: by_rows(cache)(BOOK, EDITED)) == {"holding", "holding_both"}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_list_that_watches_the_title_is_dropped(cache: Cache, way: Callable[[Cache], Told]) -> None:
    """9: but not one that watches something else, or nothing."""
    scopes = described()
    lists = Lists(
        cache,
        watching=scopes.condition(category="sci-fi", watch=("title",)),
        watching_more=scopes.condition(category="sci-fi", watch=("published", "title")),
        watching_another=scopes.condition(category="sci-fi", watch=("published",)),
        not_watching=scopes.condition(category="sci-fi"),
    )
    tell = way(cache)

    assert lists.dropped_by(lambda: tell(BOOK, EDITED)) == {"watching", "watching_more"}


def test_a_list_of_another_category_that_watches_the_title_stays(cache: Cache) -> None:
    """9: the images say where the book stands. Descriptions are not asked here, by 11: they drop it too."""
    lists = Lists(cache, fantasy=dep.Scope("book", {"category": "fantasy"}, watch=("title",)))

    assert lists.dropped_by(lambda: by_rows(cache)(BOOK, EDITED)) == set()
