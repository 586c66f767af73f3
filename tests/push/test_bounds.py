"""How much of a request is taken."""

import pytest

from everfresh.asgi import Request
from everfresh.push.bounds import MAX_HEADER_BYTES, MAX_QUERY_BYTES, ending_of, has_body, refusal_of


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Request("GET", [], b"topic=a"), None),
        (Request("GET", [(b"content-length", b"0")], b"topic=a"), None),
        (Request("GET", [], b"t" * MAX_QUERY_BYTES), None),
        (Request("GET", [], b"t" * (MAX_QUERY_BYTES + 1)), 414),
        (Request("GET", [(b"a", b"b" * (MAX_HEADER_BYTES - 33))]), None),
        (Request("GET", [(b"a", b"b")] * 2_000), 431),
        (Request("GET", [(b"a", b"b" * 1_000)] * 66), 431),
        (Request("GET", [(b"content-length", b"1")]), 400),
        (Request("GET", [(b"content-length", b"what")]), 400),
        (Request("GET", [(b"transfer-encoding", b"chunked")]), 400),
    ],
    ids=["usual", "empty", "long", "too-long", "headers", "small-headers", "large-headers", "body", "length", "chunks"],
)
def test_what_is_too_large_is_refused(request_: Request, status: int | None) -> None:
    """A stream would keep it for as long as it lasts."""
    refusal = refusal_of(request_)

    assert (None if refusal is None else refusal.status) == status


@pytest.mark.parametrize(("version", "is_closed"), [("1.0", True), ("1.1", True), ("2", False), ("3", False)])
def test_a_connection_on_which_a_body_is_on_its_way_is_closed(version: str, is_closed: bool) -> None:
    """Where that is a header: servers read a body to its end, asked or not."""
    with_body = Request("POST", [(b"transfer-encoding", b"chunked")])

    assert has_body(with_body)
    assert bool(ending_of(with_body, version)) is is_closed
    assert ending_of(Request("GET"), version) == {}
