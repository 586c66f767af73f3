"""The page in a real browser: an issue changes, and exactly the touched widgets are drawn again in place."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from everfresh.testing.waiting import until
from tests.demo.processes import DemoProcess, demo

pytestmark = [pytest.mark.alone, pytest.mark.browser]

TOPICS = {"summary", "reviews-mira", "reviews-jonas", "components", "flow", "activity"}
LONGEST_MS = 15_000
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
SNAPSHOT = """() => Object.fromEntries([...document.querySelectorAll("live-entry")].map(
    (widget) => [widget.topic, widget.version]))"""
MARK = """() => {
    window.marker = "this page was never reloaded";
    window.drawn = [];
    document.addEventListener("live-entry:drawn", (event) => drawn.push(event.detail.topic));
}"""
REDRAWN = "() => drawn"


@pytest.fixture(scope="module")
def running() -> Iterator[DemoProcess]:
    with demo("port=0, upstream_delay=0.2, autopilot=False") as running:
        yield running


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context()
    yield context
    context.close()


class Visit:
    """A page that is open, and everything that went wrong or was asked for since."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)
        self.page.goto(f"{url}/design-team")
        expect(self.page.locator("#link")).to_have_text("live", timeout=LONGEST_MS)
        self.requests.clear()
        self.page.evaluate(MARK)

    def versions(self) -> dict[str, int]:
        """The version that each widget shows."""
        shown: dict[str, int] = self.page.evaluate(SNAPSHOT)
        return shown

    def redrawn(self) -> set[str]:
        """The widgets that were drawn again since the page was opened, once all are settled."""
        expect(self.page.locator('live-entry[state="fresh"]')).to_have_count(len(TOPICS), timeout=LONGEST_MS)
        return set(self.page.evaluate(REDRAWN))

    def wait_for_version(self, topic: str, version: int) -> None:
        """Wait until the widget shows at least that version."""
        until(lambda: self.versions()[topic] >= version, what=f"version {version} of {topic}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)


@pytest.fixture
def visit(context: BrowserContext, running: DemoProcess) -> Iterator[Visit]:
    visit = Visit(context, running.url)
    yield visit
    assert visit.problems == [], "console errors and violations of the policy"


def a_review_of(running: DemoProcess, person: str) -> dict[str, str]:
    """An issue of the design team that waits for the person's review."""
    return running.issues(team="design", reviewer=person, state="review")[0]


def test_a_change_redraws_the_touched_widgets_and_no_other(running: DemoProcess, visit: Visit) -> None:
    """An issue goes from Mira to Jonas: their lists and the activity change; the numbers come out equal."""
    issue = a_review_of(running, "mira")
    before = visit.versions()

    running.change(issue["key"], reviewer="jonas")
    for topic in ("reviews-mira", "reviews-jonas", "activity"):
        visit.wait_for_version(topic, before[topic] + 1)

    assert visit.redrawn() == {"reviews-mira", "reviews-jonas", "activity"}
    after = visit.versions()
    assert {topic for topic in TOPICS if after[topic] > before[topic]} == visit.redrawn()
    expect(visit.page.locator('[topic="reviews-jonas"]')).to_contain_text(issue["key"])
    expect(visit.page.locator('[topic="reviews-mira"]')).not_to_contain_text(issue["key"])


def test_the_page_is_not_reloaded_and_asks_for_nothing_more(running: DemoProcess, visit: Visit) -> None:
    """The update carries the new HTML; a second request for data would be one too many."""
    before = visit.versions()

    running.change(a_review_of(running, "jonas")["key"], state="done")
    for topic in ("summary", "components", "flow", "activity", "reviews-jonas"):
        visit.wait_for_version(topic, before[topic] + 1)

    assert visit.redrawn() == TOPICS - {"reviews-mira"}
    expect(visit.page.locator('[topic="flow"] svg rect')).to_have_count(2 + 2 * 14)
    assert visit.page.evaluate("window.marker") == "this page was never reloaded"
    assert visit.requests == []


def test_the_widget_says_how_fresh_it_is(running: DemoProcess, visit: Visit) -> None:
    """As of, built in, version; and the version grows."""
    before = visit.versions()["activity"]
    freshness = visit.page.locator('[topic="activity"] .freshness')

    running.change("DES-120", title="A title that nobody had before")
    visit.wait_for_version("activity", before + 1)

    pattern = rf"as of \d\d:\d\d:\d\d · built in [\d.]+ m?s · version {before + 1}\b"
    expect(freshness).to_have_text(re.compile(pattern))


def test_focus_and_typed_text_elsewhere_stay(running: DemoProcess, visit: Visit) -> None:
    """Who is writing a comment keeps the words, the caret and the choice while widgets change."""
    before = visit.versions()["activity"]
    comment = visit.page.get_by_label("Comment", exact=True)
    visit.page.get_by_label("Reviewer", exact=True).select_option("priya")
    comment.press_sequentially("Half a sentence, and")
    comment.evaluate("(field) => field.setSelectionRange(5, 9)")

    running.change("DES-121", title="Something else")
    visit.wait_for_version("activity", before + 1)

    expect(comment).to_be_focused()
    expect(comment).to_have_value("Half a sentence, and")
    assert comment.evaluate("(field) => [field.selectionStart, field.selectionEnd]") == [5, 9]
    expect(visit.page.get_by_label("Reviewer", exact=True)).to_have_value("priya")


def test_what_changed_is_marked(running: DemoProcess, visit: Visit) -> None:
    """The new line of activity, and not the ones that moved down."""
    before = visit.versions()["activity"]

    running.change("DES-122", title="Marked")
    visit.wait_for_version("activity", before + 1)

    marked = visit.page.locator('[topic="activity"] .changed')
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("DES-122")


def test_a_title_is_text_whatever_it_looks_like(running: DemoProcess, visit: Visit) -> None:
    """Nothing that somebody writes in the tracker runs or draws on the page."""
    issue = a_review_of(running, "jonas")
    before = visit.versions()["reviews-jonas"]
    title = "<img src=x onerror='window.broken = 1'><script>window.broken = 1</script>"

    running.change(issue["key"], title=title)
    visit.wait_for_version("reviews-jonas", before + 1)

    expect(visit.page.locator('[topic="reviews-jonas"]')).to_contain_text("<img src=x")
    assert visit.page.evaluate("window.broken") is None


def test_the_form_changes_an_issue_without_a_reload(running: DemoProcess, visit: Visit) -> None:
    """It tells the tracker; the event redraws the page."""
    before = visit.versions()["activity"]

    visit.page.get_by_label("Issue", exact=True).select_option("DES-101")
    visit.page.get_by_label("Comment", exact=True).fill("Written on the page.")
    visit.page.get_by_role("button", name="Change it").click()

    expect(visit.page.get_by_role("status")).to_contain_text("DES-101 is changed")
    visit.wait_for_version("activity", before + 1)
    expect(visit.page.locator('[topic="activity"]')).to_contain_text("Written on the page.")
    assert visit.page.evaluate("window.marker") == "this page was never reloaded"
    assert visit.requests == [f"{running.url}/change"]


def test_the_form_works_without_script(chromium: Browser, running: DemoProcess) -> None:
    """Post, redirect, get; the page is whole without a line of script."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{running.url}/design-team")

    page.get_by_label("Issue", exact=True).select_option("DES-101")
    page.get_by_label("Component", exact=True).select_option("Motion")
    page.get_by_role("button", name="Change it").click()

    expect(page.get_by_role("heading", name="Design team")).to_be_visible()
    assert page.url == f"{running.url}/design-team"
    assert running.issues(team="design", component="Motion")
    context.close()


def test_changes_made_while_away_arrive_on_return(running: DemoProcess, context: BrowserContext, visit: Visit) -> None:
    """The stream is resumed where it was left, for the widgets that changed meanwhile."""
    before = visit.versions()["activity"]
    context.set_offline(True)
    visit.page.evaluate("dispatchEvent(new Event('pagehide'))")

    running.change("DES-123", title="While you were away")
    until(lambda: "While you were away" in httpx2.get(f"{running.url}/design-team").text, what="the change")
    context.set_offline(False)
    visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    visit.wait_for_version("activity", before + 1)

    expect(visit.page.locator('[topic="activity"]')).to_contain_text("While you were away")


def test_the_page_fits_a_phone(chromium: Browser, running: DemoProcess) -> None:
    """360 pixels, nothing to scroll sideways."""
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(f"{running.url}/design-team")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_widgets_and_fields_have_names(visit: Visit) -> None:
    """For those who hear the page: a heading per widget, a label per field, and nothing announced unasked."""
    page = visit.page

    assert page.get_by_role("region").count() == len(TOPICS) + 1
    assert page.locator("section h2").count() == len(TOPICS) + 1
    assert page.locator("live-entry[aria-live]").count() == 0
    for name in ("Issue", "Reviewer", "Component", "State", "Priority", "Comment"):
        expect(page.get_by_label(name, exact=True)).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("opened and closed"))).to_be_visible()


def test_the_page_says_when_the_hub_is_gone_and_comes_back(chromium: Browser) -> None:
    """Goodbye is said, and another server at the same address is found by itself."""
    store = "store='memory:', upstream_delay=0.05, autopilot=False"
    context = chromium.new_context()
    with demo(f"port=0, {store}") as first:
        visit = Visit(context, first.url)
        port = first.url.rsplit(":", 1)[1]
    expect(visit.page.locator("#link")).to_have_text("reconnecting", timeout=LONGEST_MS)

    with demo(f"port={port}, {store}") as second:
        expect(visit.page.locator("#link")).to_have_text("live", timeout=LONGEST_MS)
        second.change("DES-120", title="After the restart")
        expect(visit.page.locator('[topic="activity"]')).to_contain_text("renamed it", timeout=LONGEST_MS)

    assert visit.page.evaluate("window.marker") == "this page was never reloaded"
    context.close()


def test_axe_finds_nothing(running: DemoProcess, visit: Visit) -> None:
    """Nor after a widget was drawn anew."""
    before = visit.versions()["activity"]
    running.change("DES-124", title="Seen by everybody")
    visit.wait_for_version("activity", before + 1)

    visit.page.evaluate(f"() => {{ {AXE.read_text('utf-8')} }}")
    found = visit.page.evaluate("async () => (await axe.run()).violations.map(({ id, nodes }) => [id, nodes.length])")

    assert found == []
