"""A strict reader of server-sent events, written from the standard's own algorithm (WHATWG HTML, 9.2.6)."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event as a browser dispatches it; `id` is the last event id at that moment."""

    event: str
    data: Any
    id: str
    retry: int | None = None


class Reader:
    """Takes bytes in any pieces and gives the events that they complete; refuses what our streams must not contain."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""

    def feed(self, piece: bytes) -> list[Received]:
        """The events completed by this piece."""
        assert b"\r" not in piece, "only LF ends a line"
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        return [self._received(block) for block in blocks]

    def _received(self, block: bytes) -> Received:
        fields: dict[str, str] = {}
        for line in block.decode("utf-8").split("\n"):
            name, colon, value = line.partition(":")
            assert (colon, value[:1]) == (":", " "), f"not a field: {line!r}"
            assert name in {"event", "data", "id", "retry"}, f"not a field of ours: {line!r}"
            assert name not in fields, f"{name} twice in one frame"
            fields[name] = value[1:]
        assert "data" in fields, "a frame, or an id, without data"
        self._id = fields.get("id", self._id)
        retry = int(fields["retry"]) if "retry" in fields else None
        return Received(event=fields["event"], data=json.loads(fields["data"]), id=self._id, retry=retry)


def parsed(stream: bytes) -> list[Received]:
    """The events of a whole stream."""
    return Reader().feed(stream)
