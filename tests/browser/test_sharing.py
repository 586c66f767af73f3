"""One stream for all tabs of a browser, whoever of them comes and goes."""

import pytest

from everfresh.testing.waiting import until
from tests.browser.stage import Stage
from tests.browser.tabs import Person, opened, violations, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.uncounted]

ENTRY = '<live-entry topic="a">one</live-entry>'
# With a policy of its own, the tabs share a worker; with none allowed, they elect one of them.
ALLOWED = ["live-entry", "'none'"]
N_TABS = 8


@pytest.mark.parametrize("allowed", ALLOWED)
def test_eight_tabs_share_one_stream(person: Person, stage: Stage, allowed: str) -> None:
    """A browser gives six connections to a server; tabs must not use them up."""
    url = stage.page(ENTRY, allowed=allowed)
    tabs = [opened(person, url) for _ in range(N_TABS)]

    stage.put(a="two")

    for tab in tabs:
        tab.front()
        wait_for_text(tab, "live-entry", "two")
        assert violations(tab) == []
    assert stage.streams.n_open == 1


@pytest.mark.parametrize("allowed", ALLOWED)
def test_a_tab_that_comes_later_is_told_from_memory(visitor: Person, stage: Stage, allowed: str) -> None:
    """Its page is no older than the stream, so the stream goes on as it is."""
    url = stage.page(ENTRY, allowed=allowed)
    first = opened(visitor, url)
    stage.put(a="two")
    wait_for_text(first, "live-entry", "two")
    n_begun = stage.streams.n_begun

    later = opened(visitor, url)

    wait_for_text(later, "live-entry", "two")
    assert stage.streams.n_begun == n_begun


@pytest.mark.parametrize("allowed", ALLOWED)
def test_an_older_page_gets_what_it_missed(visitor: Person, stage: Stage, allowed: str) -> None:
    """A change before the stream began is asked for anew, for all."""
    old = stage.page(ENTRY, allowed=allowed)
    stage.put(a="two")
    first = opened(visitor, stage.page('<live-entry topic="a">two</live-entry>', allowed=allowed))

    second = opened(visitor, old)

    wait_for_text(second, "live-entry", "two")
    stage.put(a="three")
    for tab in (first, second):
        tab.front()
        wait_for_text(tab, "live-entry", "three")
    until(lambda: stage.streams.n_open == 1, what="one stream")


@pytest.mark.parametrize("allowed", ALLOWED)
def test_when_the_first_tab_goes_the_others_go_on(person: Person, stage: Stage, allowed: str) -> None:
    """Nothing is lost in between, and the topics that only it has shown are not followed any more."""
    first = opened(person, stage.page('<live-entry topic="b">one</live-entry>', allowed=allowed))
    second = opened(person, stage.page(ENTRY, allowed=allowed))

    first.close()
    stage.put(a="two")

    wait_for_text(second, "live-entry", "two")
    until(lambda: stage.streams.topics_open() == [["a"]], what="a stream of what is left")
    stage.put(a="three")
    wait_for_text(second, "live-entry", "three")
    second.close()
    until(lambda: stage.streams.n_open == 0, what="no stream for nobody")


def test_a_worker_that_does_not_start_is_done_without(person: Person, stage: Stage) -> None:
    """The tabs elect one of them then."""
    url = stage.page(ENTRY, allowed="live-entry", kind="broken")
    tabs = [opened(person, url) for _ in range(2)]

    stage.put(a="two")

    for tab in tabs:
        tab.front()
        wait_for_text(tab, "live-entry", "two")
    assert stage.streams.n_open == 1


def test_without_locks_each_tab_has_its_own(visitor: Person, stage: Stage) -> None:
    """Pages of an insecure address have no Web Locks: a stream a tab, and everything else as ever."""
    url = stage.page(ENTRY, kind="alone")
    tabs = [opened(visitor, url) for _ in range(2)]

    stage.put(a="two")

    for tab in tabs:
        tab.front()
        wait_for_text(tab, "live-entry", "two")
    assert stage.streams.n_open == 2
