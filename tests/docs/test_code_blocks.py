"""Documentation that is not run is wrong sooner or later."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES_WITH_CODE = [page for page in PAGES if "```python" in page.read_text("utf-8")]
RUNNER = Path(__file__).with_name("page_runner.py")
TIMEOUT_S = 50  # under the limit of one test, so that what the page printed is shown

# The variable that a page about Redis takes the store's URL from, as the examples in deploy/ do.
STORE = "SHOP_STORE"

# What a page is about need not be installed here: then its code is not run.
NEEDS = re.compile(r"^<!-- needs: (?P<module>\w+) -->$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
MAKE = re.compile(r"(?:^|`)make (?P<target>[a-z]+)", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whoever copies from a page gets what the page promises."""
    text = page.read_text("utf-8")
    for found in NEEDS.finditer(text):
        pytest.importorskip(found["module"])
    environment = dict(os.environ)
    if f'os.environ["{STORE}"]' in text:
        environment[STORE] = request.getfixturevalue("redis_url")

    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(page)],
        check=False,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """A link inside the repository names a file that is there."""
    targets = {found["target"] for found in LINK.finditer(page.read_text("utf-8"))}

    lost = {target for target in targets if "://" not in target and not (page.parent / target).exists()}

    assert lost == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_make_targets_of_a_page_exist(page: Path) -> None:
    """A command that a page tells people to type is one that the Makefile knows."""
    targets = {found["target"] for found in MAKE.finditer(page.read_text("utf-8"))}

    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert targets <= known
