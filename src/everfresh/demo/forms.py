"""The form on the page: reading what was asked for, telling the tracker, answering with or without JavaScript."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from httpx2 import HTTPError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from everfresh.demo.tracker.people import DESIGN
from everfresh.demo.upstream import Tracker, TrackerRefused

VISITOR = "mira"
# The server holds a sender to the length that it names; one that names none sends no form.
_MAX_FORM_BYTES = 16_384

CHOICES: Final = {
    "reviewer": DESIGN.people,
    "component": DESIGN.components,
    "state": ("open", "review", "done"),
    "priority": ("urgent", "high", "normal", "low"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A change that somebody asked for on the page; fields left as they are do not appear."""

    key: str
    fields: dict[str, str | None]
    comment: str


def asked_of(body: bytes) -> Asked:
    """What a posted form asks for."""
    form = {name: values[0].strip() for name, values in parse_qs(body.decode(errors="replace")).items()}
    fields: dict[str, str | None] = {name: form[name] for name in CHOICES if form.get(name)}
    return Asked(key=form.get("key", ""), fields=fields, comment=form.get("comment", ""))


def change_with(tracker: Tracker) -> Callable[[Request], Awaitable[Response]]:
    """The form's target: it hands the change to the tracker, and answers when the tracker has taken it."""

    async def change(request: Request) -> Response:
        # The browser says where a form was sent from; other sites may not change issues.
        if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return _answered(request, "This form belongs to another page.", status=403)
        if int(request.headers.get("content-length", _MAX_FORM_BYTES)) >= _MAX_FORM_BYTES:
            return _answered(request, "The form is too long.", status=413)
        asked = asked_of(await request.body())
        if not asked.fields and not asked.comment:
            return _answered(request, "Choose something to change, or say something.", status=400)
        try:
            await _tell(tracker, asked)
        except TrackerRefused as exc:
            return _answered(request, str(exc), status=400)
        except HTTPError as exc:
            return _answered(request, f"The tracker did not answer: {exc}", status=502)
        return _answered(request, f"{asked.key} is changed. Watch the widgets.")

    return change


async def _tell(tracker: Tracker, asked: Asked) -> None:
    if asked.fields:
        await tracker.change(asked.key, asked.fields, actor=VISITOR)
    if asked.comment:
        await tracker.comment(asked.key, asked.comment, actor=VISITOR)


def _answered(request: Request, said: str, *, status: int = 200) -> Response:
    """What was done, as JSON for the script on the page, else as a redirect back to the page or a plain text."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"said": said}, status)
    if status != 200:  # noqa: PLR2004 - it says OK
        return PlainTextResponse(said, status)
    return RedirectResponse("/design-team", 303)
