"""Real browsers, and a server for them."""

from collections.abc import Iterator

import pytest

from tests.browser import chrome, firefox
from tests.browser.stage import Stage, staged
from tests.browser.tabs import Browser, Person
from tests.needing import need


@pytest.fixture(scope="session")
def chromium() -> Iterator[chrome.Chromium]:
    """Debian's Chromium."""
    need([chrome.PROGRAM], for_="the page", package="chromium")
    with chrome.chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def debians_firefox() -> Iterator[Browser]:
    """Debian's Firefox."""
    need([firefox.PROGRAM], for_="the page", package="firefox-esr")
    with firefox.firefox() as browser:
        yield browser


@pytest.fixture(params=["chromium", "debians_firefox"], ids=["chromium", "firefox"])
def person(request: pytest.FixtureRequest) -> Iterator[Person]:
    """Somebody with each of the browsers, one after the other: for what browsers do each in its way."""
    browser: Browser = request.getfixturevalue(request.param)
    yield from somebody(browser)


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Person]:
    """Somebody with Chromium: for what our own rules alone decide."""
    yield from somebody(chromium)


def somebody(browser: Browser) -> Iterator[Person]:
    """Whoever uses that browser for one test."""
    person = browser.person()
    yield person
    person.close()


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    """One server for the tests of a module."""
    with staged() as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Stage) -> Stage:
    """The server, with nothing on it from the test before."""
    shared_stage.clear()
    return shared_stage
