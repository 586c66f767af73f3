"""Templates to HTML: the filters they use, and the headers a page is sent with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

# Nothing inline, nothing from elsewhere: an injected script or style would not run.
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types live-entry"
    ),
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


def clock(unix_s: float) -> str:
    """The time of day on this machine's clock: `12:03:11`."""
    return datetime.fromtimestamp(unix_s, UTC).astimezone().strftime("%H:%M:%S")


def iso(unix_s: float) -> str:
    """The moment for programs: `2026-11-21T12:03:11+00:00`."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")


def duration(seconds: float) -> str:
    """A duration for people: `1.4 s`, `240 ms`, `3.1 ms`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"  # noqa: PLR2004 - two digits


_templates = Environment(
    loader=PackageLoader("everfresh.demo"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters |= {"clock": clock, "iso": iso, "duration": duration}  # pyright: ignore[reportUnknownMemberType] - jinja2 gives it no type

# Compiled now: the first visitor would wait for it.
for _name in _templates.list_templates():
    _templates.get_template(_name)


def html(template: str, **values: object) -> str:
    """The template filled in; every value is escaped."""
    return _templates.get_template(template).render(values)


def page(template: str, **values: object) -> HTMLResponse:
    """A whole page, with the headers that keep it safe."""
    return HTMLResponse(html(template, **values), headers=HEADERS)
