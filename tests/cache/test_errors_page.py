"""docs/reference/errors.md says of each error what the code says of it."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import everfresh
from everfresh import EverfreshError
from everfresh.model import errors

PAGE = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text("utf-8")
ROW = re.compile(
    r"^\| `(?P<code>[a-z_.]+)` \| `(?P<name>\w+)` \| (?P<also>.*?) ?\| (?P<meaning>.+?) \| .+ \|$", re.MULTILINE
)


def tree(root: type[EverfreshError]) -> Iterator[type[EverfreshError]]:
    """The error and all below it that are Everfresh's own."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


ERRORS = list(tree(EverfreshError))


def _facts(error: type[EverfreshError]) -> tuple[str, str, str, str]:
    """Code, name, Python's own error that it is as well, and its sentence."""
    also = [base.__name__ for base in error.__bases__ if base is not Exception and not issubclass(base, EverfreshError)]
    return error.code, error.__name__, ", ".join(f"`{name}`" for name in also), inspect.getdoc(error) or ""


def test_the_page_draws_the_tree_that_the_module_draws() -> None:
    """Two pictures would part sooner or later."""
    drawn = (errors.__doc__ or "").split("\n\n")[1]

    assert f"```text\n{drawn}\n```" in PAGE


def test_the_page_has_a_row_for_each_error_and_no_other() -> None:
    """With its code, what else it is, and its own sentence."""
    rows = [(row["code"], row["name"], row["also"], row["meaning"]) for row in ROW.finditer(PAGE)]

    assert sorted(rows) == sorted(map(_facts, ERRORS))


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_can_be_imported_from_the_root(error: type[EverfreshError]) -> None:
    """So that nobody needs to know in which module it lives."""
    assert getattr(everfresh, error.__name__) is error
