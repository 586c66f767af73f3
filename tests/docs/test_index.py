"""Whoever opens the documentation finds every page of it, where pages of its kind stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
DECISIONS = DOCS / "adr/README.md"

LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)#\s]+\.md)\)")
SECTION = re.compile(r"^## (?P<name>.+)$\n(?P<text>(?:(?!^## ).*\n?)*)", re.MULTILINE)
# Pages elsewhere may stand where their readers look for them.
SECTION_OF_FOLDER = {"how-to": "How to", "reference": "Reference", "explanation": "Explanation"}


def linked_from(page: Path) -> list[Path]:
    """The pages that a page links, in order, each as often as it is linked."""
    return [(page.parent / found["target"]).resolve() for found in LINK.finditer(page.read_text("utf-8"))]


def test_the_index_links_every_page_once() -> None:
    """A page that nobody finds might as well not be there."""
    pages = {page for page in DOCS.rglob("*.md") if page.parent != DECISIONS.parent} | {DECISIONS}

    assert sorted(linked_from(INDEX)) == sorted(pages - {INDEX})


@pytest.mark.parametrize("folder", SECTION_OF_FOLDER)
def test_a_page_stands_in_the_section_of_its_folder(folder: str) -> None:
    """Tutorial, how-to, reference and explanation are read for different reasons."""
    sections = {found["name"]: found["text"] for found in SECTION.finditer(INDEX.read_text("utf-8"))}
    pages = {str(page.relative_to(DOCS)) for page in (DOCS / folder).glob("*.md")}

    listed = {found["target"] for found in LINK.finditer(sections[SECTION_OF_FOLDER[folder]])}

    assert pages
    assert pages <= listed


def test_the_list_of_decisions_has_each_of_them_in_order() -> None:
    """A decision that is not listed is made again."""
    pages = sorted(page for page in DECISIONS.parent.glob("*.md") if page != DECISIONS)

    assert linked_from(DECISIONS) == pages
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))


def test_a_decision_is_short() -> None:
    """At most 60 lines, so that it is read."""
    long = {page.name for page in DECISIONS.parent.glob("[0-9]*.md") if len(page.read_text("utf-8").splitlines()) > 60}

    assert long == set()
