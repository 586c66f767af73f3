"""docs/reference/options.md names the options that there are, and what holds when nothing is said."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from everfresh import FOREVER, Cache
from everfresh.cache.options import FunctionOptions, Options
from everfresh.push import Access, Client, Grant, Limits, Updates
from everfresh.push.tokens import TopicTokens
from everfresh.refresh import Worker
from everfresh.sources.consuming import Consumer
from everfresh.sources.http import EventsEndpoint

PAGE = (Path(__file__).parents[2] / "docs/reference/options.md").read_text("utf-8")
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<unit>[^|]+) \| (?P<default>[^|]+) \| (?P<meaning>.+) \|$", re.MULTILINE)


def described(start: str, end: str) -> dict[str, str]:
    """The options that stand between two lines of the page, known by how they begin, with their defaults."""
    part = PAGE.partition(f"\n{start}")[2].partition(f"\n{end}")[0]
    rows = list(ROW.finditer(part))
    assert len({row["name"] for row in rows}) == len(rows) == part.count("\n| `")
    return {row["name"]: row["default"] for row in rows}


def shown(default: object) -> str:
    """A default as the page writes it."""
    match default:
        case timedelta():
            return "`FOREVER`" if default == FOREVER else f"{default.total_seconds():g} s"
        case None | ():
            return "none"
        case bool():
            return "yes" if default else "no"
        case str():
            return f'`"{default}"`'
        case int():
            return str(default)
        case float():
            return f"{default:g}"
        case _ if repr(default) == "<factory>":  # of a dataclass: an empty one of its kind
            return "none"
        case _:
            return f"`{getattr(default, '__name__', default)}`"


def parameters_of(function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """The parameters that may be left out, with their defaults."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            yield parameter.name, shown(parameter.default)


def test_every_option_of_a_cached_function_is_on_the_page() -> None:
    """With its default; no other is."""
    expected = {field.name: shown(field.default) for field in fields(Options)}

    assert described("## `cached` and", "## `Cache`") == expected


def test_the_options_that_are_typed_are_those_that_are_read() -> None:
    """What a type checker lets pass is not refused when it runs, nor the other way round."""
    assert list(get_type_hints(FunctionOptions)) == [field.name for field in fields(Options)]


@pytest.mark.parametrize(
    ("start", "end", "function"),
    [
        pytest.param("## `Cache`", "## Others", Cache, id="Cache"),
        pytest.param("`Worker(cache, ...)`", "`cache.put(", Worker, id="Worker"),
        pytest.param("`cache.put(", "`everfresh.push.Updates(", Cache.put, id="put"),
        pytest.param("`everfresh.push.Updates(", "`everfresh.push.Access(", Updates, id="Updates"),
        pytest.param("`everfresh.push.Access(", "`everfresh.push.Grant(", Access, id="Access"),
        pytest.param("`everfresh.push.Grant(", "`everfresh.push.Limits(", Grant, id="Grant"),
        pytest.param("`everfresh.push.Limits(", "`everfresh.push.tokens.TopicTokens(", Limits, id="Limits"),
        pytest.param("`everfresh.push.tokens.TopicTokens(", "`everfresh.push.Client(", TopicTokens, id="TopicTokens"),
        pytest.param("`everfresh.push.Client(", "`everfresh.sources.http.EventsEndpoint(", Client, id="Client"),
        pytest.param(
            "`everfresh.sources.http.EventsEndpoint(",
            "`everfresh.sources.consuming.Consumer(",
            EventsEndpoint,
            id="EventsEndpoint",
        ),
        pytest.param("`everfresh.sources.consuming.Consumer(", "## What is refused", Consumer, id="Consumer"),
    ],
)
def test_every_parameter_that_may_be_left_out_is_on_the_page(
    start: str, end: str, function: Callable[..., Any]
) -> None:
    """With its default; no other is."""
    assert described(start, end) == dict(parameters_of(function))


def test_every_option_has_its_line_in_the_docstring() -> None:
    """Editors show that one."""
    docstring = inspect.getdoc(Cache.cached) or ""

    missing = [field.name for field in fields(Options) if f"`{field.name}`" not in docstring]

    assert missing == []
