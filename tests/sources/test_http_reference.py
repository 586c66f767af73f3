"""docs/reference/http-events.md names the options and the answers that there are."""

import re
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from everfresh.sources.debezium import Debezium
from everfresh.sources.hooks import Hook
from everfresh.sources.openapi import document_of
from everfresh.sources.rates import Rate
from everfresh.sources.rules import WebhookRule
from everfresh.sources.signatures import GitHub

PAGE = (Path(__file__).parents[2] / "docs/reference/http-events.md").read_text("utf-8")
ROW = re.compile(r"^\| `(?P<name>\w+)` \| [^|]+ \| (?P<default>[^|]+) \|", re.MULTILINE)


def shown(field: "Field[object]") -> str:
    """A default as the page writes it."""
    if field.default is MISSING:
        return {"reader": "`Formats()`", "when": "`{}`"}[field.name]
    match field.default:
        case frozenset() as names:
            return ", ".join(
                f"`{name}`" for name in ("mysql", "mariadb", "sqlserver", "oracle", "db2") if name in names
            )
        case timedelta() as duration:
            return f"{duration.total_seconds():g} s"
        case None:
            return "none"
        case bool() as answer:
            return "yes" if answer else "no"
        case str() as text:
            return f'`"{text}"`'
        case tuple() as texts:
            return f"`{texts!r}`".replace("'", '"')
        case number:
            return f"{number:.12g}"


@pytest.mark.parametrize("options", [Hook, Rate, WebhookRule, Debezium])
def test_every_option_is_on_the_page(options: type) -> None:
    """With its default; no other is."""
    part = PAGE.partition(f".{options.__name__}(")[2].partition("\n\n`everfresh")[0]
    expected = {field.name: shown(field) for field in fields(options) if field.init and field.name != "topic"}

    assert {row["name"]: row["default"] for row in ROW.finditer(part)} == expected


def test_every_answer_is_on_the_page() -> None:
    """All that a hook may give, and the two that are no hook's."""
    hook = Hook(verifier=GitHub("It's a Secret to Everybody"), rate=Rate())
    document: Any = document_of({"/": hook})
    described = document["paths"]["/"]["post"]["responses"]

    listed = re.findall(r"^\| (\d{3}) \|", PAGE, re.MULTILINE)

    assert set(listed) == {*described, "404", "405"}
    assert listed == sorted(listed)
