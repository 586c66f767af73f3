"""A real Chromium for the tests that look at the page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chrome import FLAGS, PROGRAM
from tests.needing import need


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. Without one the test is skipped, but fails where it must not be missing."""
    need([PROGRAM], for_="the page", package="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield browser
        browser.close()
