"""What is promised, by name.

TRUE_WHEN_QUIET     when every event is applied, the queue is empty and nobody walks, each entry is fresh, and has the
                    value that its function gives now
NEVER_OLDER         no strict reader, and no reader `after` a position, gets a value that was true only before the
                    newest event that was applied when it began, or before that position; nor is such a value stored as
                    settled, where the next reader would get it. Nested functions are included. A reader with bounds
                    gets one that was true within them, and what was seen of something of which nobody tells is served
                    no longer than its function says
MONOTONIC           the feed's sequence grows from record to record, an entry's version never goes back, a changed value
                    has a new one; whoever follows, in small pieces or large, is told the same records, each once
NO_BUILD_IN_VAIN    between two leases of one entry there is a reason: an event applied to it, or to what it was ever
                    seen to be built from; a change, a drop or a failed try of one of these; a lease of one of these
                    that ended without a commit; a clock that went past an end; a shape that was new; an old value that
                    stood in for one that failed; somebody who asked for a build; a new life of the store. So an entry
                    is built at most once more than it had reasons
NOTHING_STUCK       when sources answer and leases have run out, every walk comes to its end, and the queue gets empty
ONE_AT_A_TIME       no two live leases for one entry, unless it was dropped in between
FENCED              nothing is stored by a build whose lease has ended
ONLY_ITS_ERRORS     a reader meets no error but that of a source that failed after the newest event that was applied
                    when it began, or of having waited for too long
NOTHING_TRUSTED     when the store begins a new life, nothing that it still holds is served as up to date, and whoever
                    follows is told to start over
KEPT                what its function refreshes is dropped only when somebody deletes it, when nobody read it for
                    `keep_warm`, when its refresh waited for `job_expires`, or for want of room; not by a failure
"""

from __future__ import annotations

from enum import Enum


class Promise(Enum):
    """What is promised."""

    TRUE_WHEN_QUIET = "true when quiet"
    NEVER_OLDER = "never an older truth"
    MONOTONIC = "monotonic"
    NO_BUILD_IN_VAIN = "no build in vain"
    NOTHING_STUCK = "nothing stuck"
    ONE_AT_A_TIME = "one build at a time"
    FENCED = "fenced"
    ONLY_ITS_ERRORS = "only its own errors"
    NOTHING_TRUSTED = "nothing trusted of another life"
    KEPT = "the last good value is kept"


class Broken(AssertionError):
    """A promise was broken; `PromiseBroken` says it with the way there."""

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"{promise.value}: {what}")
        self.promise = promise
