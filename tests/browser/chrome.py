"""Debian's Chromium, driven by Playwright.

Playwright keeps an event loop running in the thread that uses it, in which no asynchronous test can run any more. So it
has a thread of its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

T = TypeVar("T")

PROGRAM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Driver:
    """Playwright's thread."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    def do(self, what: Callable[[], T]) -> T:
        """What the call gives, made there."""
        return self._thread.submit(what).result()


class ChromeTab:
    """A tab of Chromium."""

    def __init__(self, driver: Driver, context: BrowserContext) -> None:
        self._do = driver.do
        self.problems: list[str] = []
        self._page = self._do(lambda: self._opened(context))

    def goto(self, url: str) -> None:
        self._do(lambda: self._page.goto(url))

    def run(self, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - JSON, both ways
        return self._do(lambda: self._page.evaluate(f"(arguments) => ({function})(...arguments)", list(arguments)))

    def press(self, text: str) -> None:
        self._do(lambda: self._page.keyboard.type(text))

    def front(self) -> None:
        self._do(self._page.bring_to_front)

    def close(self) -> None:
        self._do(self._page.close)

    def _opened(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        return page

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)


class ChromePerson:
    """A context of Chromium."""

    def __init__(self, driver: Driver, context: BrowserContext) -> None:
        self._driver = driver
        self._context = context

    def tab(self) -> ChromeTab:
        return ChromeTab(self._driver, self._context)

    def close(self) -> None:
        self._driver.do(self._context.close)


class Chromium:
    """Chromium."""

    name = "chromium"

    def __init__(self, driver: Driver, browser: Browser) -> None:
        self._driver = driver
        self._browser = browser

    def person(self) -> ChromePerson:
        return ChromePerson(self._driver, self._driver.do(self._browser.new_context))


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Chromium while the block runs."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        driver = Driver(thread)
        playwright = driver.do(sync_playwright().start)
        browser = driver.do(lambda: playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS))
        yield Chromium(driver, browser)
        driver.do(browser.close)
        driver.do(playwright.stop)
