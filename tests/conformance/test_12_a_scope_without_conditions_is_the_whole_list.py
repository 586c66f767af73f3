"""Conformance 12: the list of all."""

import pytest

from everfresh import Cache, dep
from tests.conformance.library import WAYS, Book, Lists, Told, described

BOOK = Book(1, "sci-fi")


@pytest.fixture(params=WAYS)
def tell(request: pytest.FixtureRequest, cache: Cache) -> Told:
    """Tell of a change by rows, and by descriptions."""
    return WAYS[request.param](cache)


@pytest.fixture
def lists(cache: Cache) -> Lists:
    """The whole list, said in both ways, and that of another type."""
    return Lists(cache, plain=dep.Scope("book"), described=described().condition(), films=dep.Scope("film"))


@pytest.mark.parametrize(("before", "after"), [(None, BOOK), (BOOK, None)], ids=["created", "deleted"])
def test_the_whole_list_is_dropped_when_it_gains_or_loses_any_member(
    lists: Lists, tell: Told, before: Book | None, after: Book | None
) -> None:
    """12: whatever the book is like; the list of another type stays."""
    assert lists.dropped_by(lambda: tell(before, after)) == {"plain", "described"}


def test_the_whole_list_stays_when_a_member_moves_within_it(lists: Lists, tell: Told) -> None:
    """12: it neither gained nor lost one."""
    assert lists.dropped_by(lambda: tell(BOOK, Book(1, "fantasy"))) == set()
