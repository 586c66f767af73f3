"""Bounds: how much of a request is taken, before any of it is looked at. Pure.

A stream keeps its request for as long as it lasts, to ask again who may see what; so what strangers can make large is
refused. Nothing that is asked for here has a body: one is refused by what the headers say of it, and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from everfresh.asgi import Problem, Request

# A hundred topics, a token and a position have room; browsers and proxies bound addresses by 8 KiB and more.
MAX_QUERY_BYTES = 32_768
# Cookies have 4 KiB each, and proxies take 8 to 64 KiB of all headers. Each counts for so much more, as HTTP/2 has it
# (RFC 9113, 6.5.2): many small ones take more memory than one large one.
MAX_HEADER_BYTES = 65_536
_EACH_BYTES = 32


def refusal_of(request: Request) -> Problem | None:
    """Why the request is not looked at; None when it may be."""
    n_query_bytes = len(request.query_string)
    if n_query_bytes > MAX_QUERY_BYTES:
        detail = (
            f"The address has {n_query_bytes} bytes after its `?`. Ask for less: at most {MAX_QUERY_BYTES} are read."
        )
        return Problem(HTTPStatus.REQUEST_URI_TOO_LONG, detail)
    n_header_bytes = sum(len(name) + len(value) + _EACH_BYTES for name, value in request.headers)
    if n_header_bytes > MAX_HEADER_BYTES:
        detail = f"The headers have {n_header_bytes} bytes. Send less: at most {MAX_HEADER_BYTES} are read."
        return Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
    if request.method == "GET" and has_body(request):
        detail = "The request has a body. Ask without one: all that is asked for stands in the address."
        return Problem(HTTPStatus.BAD_REQUEST, detail)
    return None


def has_body(request: Request) -> bool:
    """Whether the headers announce one."""
    headers = request.texts()
    return "transfer-encoding" in headers or headers.get("content-length", "").strip().lstrip("0") != ""


def ending_of(request: Request, http_version: object) -> Mapping[str, str]:
    """Headers that have the server close the connection where else it would read a body, which may never end."""
    # From HTTP/2 on there is no such header, and one stream of many is reset instead.
    return {"connection": "close"} if has_body(request) and str(http_version).startswith("1") else {}
