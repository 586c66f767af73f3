"""Rechecks: what a client may see is asked for again when that may have changed, before it is told anything more.

Word of a change travels the feed like any other: it is the record of an entry, a *subject* (see access.py). From the
moment at which it is seen, the streams that it concerns are on hold: what comes for them is kept. Each goes on by
itself when its own question is answered; all others are not waited with. When the store began a new life, word may be
lost, so everybody who depends on any subject is asked about. So is who was granted something while word of anybody
came by: `mark` is read before the first question, and given to `add`.

About one stream there is one question at a time. Word that comes meanwhile has it asked once more, and until no word is
left unanswered the stream stays on hold. A question sees the context variables of the request that opened the stream,
as the first one did. One that is not answered in time ends the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from everfresh.asgi import Problem
from everfresh.model.entry import FeedRecord, Key
from everfresh.push.access import Grant, subject_key

_log = logging.getLogger("everfresh.push")

# The application looks each of them up, often in a database.
_N_AT_ONCE = 64
# A question that hangs must not keep the place of others, nor its own stream silent.
_ANSWERED_IN_S = 10.0
# So long a stream waits for its turn to be asked about: as many as that are asked about at once.
_TURN_WITHIN_S = 60.0


class Checked(Protocol):
    """A stream of somebody whose rights may change."""

    async def recheck(self) -> Grant | Problem:
        """What may be seen now."""
        ...

    def hold(self) -> None:
        """Send nothing until `release` was called as often."""
        ...

    def release(self, gone: Collection[str], is_over: bool) -> None:  # noqa: FBT001 - both as `drop` gives them
        """Go on; of the topics that are gone nothing may be sent any more. `is_over`: nothing is left."""
        ...

    def end(self) -> None:
        """Say goodbye and end."""
        ...


C = TypeVar("C", bound=Checked)
# What the keys of all subjects begin with.
_ANY = subject_key("")


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of a stream: its subjects, and the question under way."""

    context: Context
    subjects: frozenset[Key] = frozenset()
    question: asyncio.Task[None] | None = None
    is_asked_again: bool = False


class Rechecks(Generic[C]):
    """Who depends on which subjects, and the questions under way, while the block runs.

    `drop(checked, granted)` ends what is not granted any more; it gives the names of that, and whether nothing is left.
    """

    def __init__(self, drop: Callable[[C, Collection[str]], tuple[list[str], bool]]) -> None:
        self.mark = 0
        """Grows with each word of anybody's rights."""
        self._drop = drop
        self._known: dict[C, _Known] = {}
        self._checked_of: dict[Key, set[C]] = {}
        self._gate = asyncio.Semaphore(_N_AT_ONCE)
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, traceback)

    def __contains__(self, checked: C) -> bool:
        """Whether it is asked about at times."""
        return checked in self._known

    def add(self, checked: C, subjects: Collection[str], mark: int) -> None:
        """Ask about it when one of the subjects changes; at once if anybody's rights have since `mark`.

        To be called in the context of the request, which questions see too.
        """
        if not subjects:
            return
        known = self._known[checked] = _Known(copy_context())
        self._depend(checked, known, subjects)
        if mark != self.mark:
            self._begin(checked, known)

    def remove(self, checked: C) -> None:
        """Ask about it no more; a question under way is not waited for."""
        known = self._known.pop(checked, None)
        if known is not None:
            self._depend(checked, known, ())
            if known.question is not None:
                known.question.cancel()

    def begin(self, records: Iterable[FeedRecord] | None) -> None:
        """Hold and ask about all whom these records concern; None: whom do they not."""
        keys = None if records is None else {record.key for record in records if record.key.startswith(_ANY)}
        if keys is None:
            concerned = {*self._known}
        else:
            concerned = {checked for key in keys for checked in self._checked_of.get(key, ())}
        self.mark += keys is None or bool(keys)
        for checked in concerned:
            self._begin(checked, self._known[checked])

    def _depend(self, checked: C, known: _Known, subjects: Iterable[str]) -> None:
        for key in known.subjects:
            self._checked_of[key].discard(checked)
            if not self._checked_of[key]:
                del self._checked_of[key]
        known.subjects = frozenset(map(subject_key, subjects))
        for key in known.subjects:
            self._checked_of.setdefault(key, set()).add(checked)

    def _begin(self, checked: C, known: _Known) -> None:
        known.is_asked_again = True
        if known.question is None:
            checked.hold()
            known.question = self._group.create_task(self._ask(checked, known), context=known.context)

    async def _ask(self, checked: C, known: _Known) -> None:
        try:
            grant = await self._last_answer(checked, known)
            known.question = None
            if grant is None:
                # Nobody can say now; it comes back, and is asked about like anybody who comes.
                checked.end()
            else:
                checked.release(*self._drop(checked, grant.topics))
        except TimeoutError:
            _log.warning("recheck.late: nobody said in time what may still be seen; the client comes back")
            checked.end()
        except Exception:  # noqa: BLE001 - whatever it was, nothing is granted by it
            _log.exception("recheck.failed")
            checked.end()

    async def _last_answer(self, checked: C, known: _Known) -> Grant | None:
        """What was answered after the last word; None: nobody can say."""
        grant: Grant | None = None
        while known.is_asked_again:
            known.is_asked_again = False
            mark = self.mark
            # Waiting for one's turn is no answer that takes long, but has an end too: nothing is sent meanwhile.
            async with asyncio.timeout(_TURN_WITHIN_S):
                await self._gate.acquire()
            try:
                async with asyncio.timeout(_ANSWERED_IN_S):
                    answer = await checked.recheck()
            finally:
                self._gate.release()
            match answer:
                case Problem(status=status) if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    return None
                case Problem():
                    grant = Grant(())
                case Grant():
                    grant = answer
            before = known.subjects
            if checked in self._known:
                self._depend(checked, known, grant.subjects)
            # Word of those that are new came by unheard.
            known.is_asked_again |= mark != self.mark and not known.subjects <= before
        return grant
