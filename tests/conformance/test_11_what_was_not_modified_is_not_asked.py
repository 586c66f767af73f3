"""Conformance 11: what is said to have been modified decides who is asked, and who is touched."""

from collections.abc import Mapping

import pytest

from everfresh import Cache, Event, dep
from everfresh.testing.plugin import RecordEvents
from tests.conformance.library import Book, Lists

BOOK = Book(1, "sci-fi")


class Asked:
    """Descriptions that count how often they are asked."""

    def __init__(self, *, is_listed: bool = True) -> None:
        self.n = 0
        self.scopes = dep.Scopes("book")

        @self.scopes.describes("category", "published")
        def listed(book: Book) -> Mapping[str, object] | None:
            self.n += 1
            return {"category": book.category, "published": book.published} if is_listed else None

    def lists(self, cache: Cache) -> Lists:
        """The lists that a sci-fi book can touch."""
        return Lists(
            cache,
            sci_fi=self.scopes.condition(category="sci-fi"),
            out=self.scopes.condition(published=True),
            whole=self.scopes.condition(),
        )


@pytest.mark.parametrize("modified", [{"title"}, {"title", "pages"}], ids=["one", "two"])
def test_the_extractor_does_not_run_for_fields_that_it_does_not_derive_from(cache: Cache, modified: set[str]) -> None:
    """11: and no list goes that does not watch one of them."""
    asked = Asked()
    dropped = asked.lists(cache).dropped_by(
        lambda: asked.scopes.invalidate_for(BOOK, cache.blocking, modified=modified)
    )

    assert (asked.n, dropped) == (0, set())


def test_the_extractor_runs_for_a_field_that_it_derives_from(cache: Cache) -> None:
    """11: else the test above would hold of an extractor that never runs."""
    asked = Asked()
    dropped = asked.lists(cache).dropped_by(
        lambda: asked.scopes.invalidate_for(BOOK, cache.blocking, modified={"category"})
    )

    assert asked.n > 0
    assert "sci_fi" in dropped


def test_nothing_modified_touches_nothing(cache: Cache, record_events: RecordEvents) -> None:
    """11: `modified=set()` is an empty answer, and not no answer; nobody is even told."""
    asked = Asked()
    with record_events() as events:
        dropped = asked.lists(cache).dropped_by(
            lambda: asked.scopes.invalidate_for(BOOK, cache.blocking, modified=set())
        )

    assert (asked.n, dropped, events) == (0, set(), [])


def test_a_row_event_in_which_nothing_changed_touches_nothing(cache: Cache) -> None:
    """11: the same of rows."""
    lists = Lists(cache, sci_fi=dep.Scope("book", {"category": "sci-fi"}), whole=dep.Scope("book"))
    image = {"id": 1, "category": "sci-fi"}

    dropped = lists.dropped_by(
        lambda: cache.blocking.publish(Event.change("book", before=image, after=image, changed=[]))
    )

    assert dropped == set()


def test_an_object_that_is_never_listed_is_ignored(cache: Cache) -> None:
    """11: the extractor said None; when it is created, changed or deleted."""
    asked = Asked(is_listed=False)
    lists = asked.lists(cache)

    assert lists.dropped_by(lambda: asked.scopes.invalidate_for(BOOK, cache.blocking)) == set()
    assert lists.dropped_by(lambda: asked.scopes.invalidate_for(BOOK, cache.blocking, modified={"category"})) == set()
    assert asked.n == 2
