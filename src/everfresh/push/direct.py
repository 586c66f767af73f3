"""Direct: where the server shows the response behind `send`, bytes go to its transport without a call of ASGI.

`send` costs a task, a message and the joining of a chunk for each client; half of what a delivery costs beside the
system call. uvicorn with httptools shows all that it looks at itself before it writes; any other server, and a `send`
that somebody wraps, is called as ASGI has it.
"""

from __future__ import annotations

from types import MethodType
from typing import Protocol, cast

from everfresh.asgi import Send


class Flow(Protocol):
    """Whether the client keeps up."""

    write_paused: bool


class Writes(Protocol):
    """Takes bytes, and never waits."""

    def write(self, data: bytes, /) -> None:
        """Hand over; what the system does not take is buffered, and the flow pauses."""
        ...


class Response(Protocol):
    """A response that has begun, and whose body is sent in chunks (RFC 9112, 7.1)."""

    flow: Flow
    transport: Writes
    disconnected: bool


def response_of(send: Send) -> Response | None:
    """The response behind `send`, if its server shows it and it is sent in chunks. Ask once it has begun."""
    if type(send) is not MethodType:
        # A proxy that passes for the server's own would be passed by.
        return None
    # Our own runner stands before the server, and says what is behind it.
    behind = getattr(send, "__self__", None)
    response = getattr(behind, "response", behind)
    is_shown = (
        getattr(response, "chunked_encoding", None) is True
        and getattr(response, "response_started", None) is True
        and getattr(response, "response_complete", None) is False
        and getattr(response, "disconnected", None) is False
        and isinstance(getattr(getattr(response, "flow", None), "write_paused", None), bool)
        and callable(getattr(getattr(response, "transport", None), "write", None))
        # A HEAD is answered without its body.
        and getattr(response, "scope", {}).get("method") == "GET"
    )
    return cast("Response", response) if is_shown else None


def chunk_of(body: bytes) -> bytes:
    """The bytes of a body as one chunk."""
    return b"%x\r\n%b\r\n" % (len(body), body)
