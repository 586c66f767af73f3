"""Counted streams: a stream that counts what is taken from it, and says how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from everfresh.asgi import Problem
from everfresh.model.marks import override
from everfresh.push.access import Grant
from everfresh.push.connection import Connection
from everfresh.push.pulse import Vital
from everfresh.push.stream import Manner, Stream
from everfresh.push.tally import End, Tally


class CountedStream(Stream):
    """Ended as the first call that ended it had it, or else by its client. A delivery costs as much as without."""

    __slots__ = ("_tally", "ended_as")

    def __init__(
        self,
        tally: Tally,
        connection: Connection,
        *,
        manner: Manner,
        vital: Vital,
        is_gzip: bool = False,
        recheck: Callable[[], Awaitable[Grant | Problem]] | None = None,
    ) -> None:
        super().__init__(connection, manner=manner, vital=vital, is_gzip=is_gzip, recheck=recheck)
        self._tally = tally
        self.ended_as = End.LEFT
        """How it ended, once it has."""

    @override
    def end(self) -> None:
        """Say goodbye and end."""
        self._ends(End.TOLD)
        super().end()

    @override
    def expire(self) -> None:
        """Say goodbye, since it has lasted long enough, and end."""
        self._ends(End.EXPIRED)
        super().expire()

    @override
    def cut(self) -> None:
        """End now, whatever the client has not read."""
        self._ends(End.STALLED)
        super().cut()

    @override
    def release(self, gone: Collection[str], is_over: bool) -> None:
        """Go on; the client is told what is gone, and of that nothing else. `is_over`: nothing is left."""
        self._tally.n_revoked += len(gone)
        if is_over and gone:
            self._ends(End.REVOKED)
        super().release(gone, is_over)

    def _ends(self, how: End) -> None:
        if self.ended_as is End.LEFT:
            self.ended_as = how
