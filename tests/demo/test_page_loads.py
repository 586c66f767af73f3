"""Line 2 of the promise: a reader never waits for the upstream once an entry exists."""

import re
import time

import httpx2
import pytest

from everfresh.testing.waiting import until
from tests.demo.processes import demo

UPSTREAM_S = 2.0
N_CHANGES = 100
LOADS_PER_CHANGE = 3
LONGEST_LOAD_S = 0.05
"""The promise's own bar: a fortieth of what one answer of the upstream takes."""


class Reader:
    """Somebody who loads the page again and again, and looks at the clock each time.

    Beside each page an icon of the same server is loaded, which no cache is asked for: what takes long there, too, is
    a busy machine and no wait.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, timeout=30)
        self.pages_s: list[float] = []
        self.icons_s: list[float] = []

    def load(self) -> str:
        """The page; the time that it took is kept."""
        html = self._timed("/design-team", self.pages_s)
        self._timed("/static/icon.svg", self.icons_s)
        return html

    def close(self) -> None:
        """Go away."""
        self._client.close()

    def _timed(self, path: str, took_s: list[float]) -> str:
        began = time.perf_counter()
        text = self._client.get(path).raise_for_status().text
        took_s.append(time.perf_counter() - began)
        return text


def is_settled(html: str) -> bool:
    """Whether every widget of the page is fresh."""
    return set(re.findall(r'version="\d+" state="(\w+)"', html)) == {"fresh"}


@pytest.mark.alone
def test_no_page_load_waits_for_the_upstream_during_a_hundred_changes() -> None:
    """Every load during the changes, and until all of them are on the page, stays under the bar."""
    with demo(f"port=0, upstream_delay={UPSTREAM_S}, autopilot=False") as running:
        reader = Reader(running.url)

        for n in range(N_CHANGES):
            running.change(f"DES-{101 + n % 50}", title=f"Title {n}")
            for _ in range(LOADS_PER_CHANGE):
                reader.load()
        html = until(lambda: html if is_settled(html := reader.load()) else "", what="every change on the page")
        reader.close()

    assert f"Title {N_CHANGES - 1}" in html
    assert len(reader.pages_s) > N_CHANGES * LOADS_PER_CHANGE
    slowest_s = max(reader.pages_s)
    assert slowest_s < LONGEST_LOAD_S + max(reader.icons_s), f"the slowest: {sorted(reader.pages_s)[-5:]}"
