"""Make docs/images/demo.png, the picture in the README, from the real page in Debian's Chromium.

    python scripts/screenshot_demo.py [OUT.png]

It starts the demo with its usual slow upstream, changes a few issues in the tracker, and takes the picture when the
last change has just redrawn its widgets.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx2
from playwright.async_api import Page, async_playwright

from everfresh.demo import DemoSettings
from everfresh.demo.hub import Demo, running

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "demo.png"
LONGEST_MS = 30_000
ALL_FRESH = (
    """() => [...document.querySelectorAll("live-entry")].every((widget) => widget.getAttribute("state") === "fresh")"""
)
SHOWN_ON = """([topic, text]) => document.querySelector(`live-entry[topic="${topic}"]`).textContent.includes(text)"""


async def main(picture: Path) -> None:
    """Take the picture."""
    settings = DemoSettings(port=0, autopilot=False, quiet=True, store="memory:")
    async with running(settings) as demo, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1240, "height": 900}, device_scale_factor=1.5)
        await change_some_issues(demo)
        await page.goto(f"{demo.url}/design-team")
        await page.wait_for_function(ALL_FRESH, timeout=LONGEST_MS)
        await page.reload()  # with everything in place, as a visitor finds it
        await hand_over_a_review(demo, page)
        picture.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=picture, full_page=True)
        await browser.close()


async def change_some_issues(demo: Demo) -> None:
    """What happened on this page today."""
    async with httpx2.AsyncClient(base_url=demo.tracker_url, timeout=30) as tracker:
        issues = (await tracker.get("/issues", params={"team": "design", "state": "open"})).json()
        changes = [
            {"actor": "aiko", "state": "done"},
            {"actor": "priya", "component": "Motion"},
            {"actor": "tomas", "state": "review", "reviewer": "aiko"},
            {"actor": "mira", "priority": "urgent"},
        ]
        for issue, change in zip(issues, changes, strict=False):
            (await tracker.patch(f"/issues/{issue['key']}", json=change)).raise_for_status()


async def hand_over_a_review(demo: Demo, page: Page) -> None:
    """An issue goes from Mira to Jonas; returns when both lists and the activity show it."""
    async with httpx2.AsyncClient(base_url=demo.tracker_url, timeout=30) as tracker:
        query = {"team": "design", "reviewer": "mira", "state": "review"}
        key = (await tracker.get("/issues", params=query)).json()[0]["key"]
        change = {"actor": "mira", "reviewer": "jonas"}
        (await tracker.patch(f"/issues/{key}", json=change)).raise_for_status()
    for topic in ("reviews-jonas", "activity"):
        await page.wait_for_function(SHOWN_ON, arg=[topic, key], timeout=LONGEST_MS)
    await page.wait_for_function(f"(key) => !({SHOWN_ON})(['reviews-mira', key])", arg=key, timeout=LONGEST_MS)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
