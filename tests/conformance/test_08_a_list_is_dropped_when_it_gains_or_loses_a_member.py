"""Conformance 8: lists follow their members, those that are empty too."""

import pytest

from everfresh import Cache, dep
from tests.conformance.library import WAYS, Book, Lists, Told

FANTASY, SCI_FI = Book(1, "fantasy"), Book(2, "sci-fi")


@pytest.fixture(params=WAYS)
def tell(request: pytest.FixtureRequest, cache: Cache) -> Told:
    """Tell of a change by rows, and by descriptions."""
    return WAYS[request.param](cache)


@pytest.fixture
def lists(cache: Cache) -> Lists:
    """The lists of each category."""
    categories = {"fantasy": "fantasy", "sci_fi": "sci-fi", "poetry": "poetry"}
    return Lists(cache, **{name: dep.Scope("book", {"category": text}) for name, text in categories.items()})


def test_an_empty_list_is_cached(lists: Lists, cache: Cache) -> None:
    """8: that there is nothing is an answer."""
    lists.put()

    assert cache.blocking.get("sci_fi") == []


def test_adding_to_another_list_leaves_it(lists: Lists, tell: Told) -> None:
    """8: a fantasy book is none of its business."""
    assert lists.dropped_by(lambda: tell(None, FANTASY)) == {"fantasy"}


def test_adding_a_member_drops_it(lists: Lists, tell: Told) -> None:
    """8: although the empty list knows no book that it could hang on."""
    assert lists.dropped_by(lambda: tell(None, SCI_FI)) == {"sci_fi"}


def test_moving_a_member_drops_both_lists(lists: Lists, tell: Told) -> None:
    """8: the one that it leaves, and the one that it enters."""
    assert lists.dropped_by(lambda: tell(FANTASY, Book(1, "sci-fi"))) == {"fantasy", "sci_fi"}


def test_deleting_a_member_drops_it(lists: Lists, tell: Told) -> None:
    """8: and leaves the others."""
    assert lists.dropped_by(lambda: tell(SCI_FI, None)) == {"sci_fi"}
