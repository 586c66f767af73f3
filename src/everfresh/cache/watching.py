"""Watching: what somebody who watches an entry has seen of it."""

from __future__ import annotations

from everfresh.model.entry import Entry
from everfresh.protocol.reading import retry_in_s
from everfresh.protocol.requests import Policy


class Watched:
    """What somebody who watches an entry has seen of it."""

    def __init__(self) -> None:
        self._n_failed = 0
        self._digest = ""

    def is_news(self, entry: Entry) -> bool:
        """Whether the value is another than the last one. A cached error is news only to who has seen nothing yet."""
        self._n_failed = 0
        if entry.is_error:
            return not self._digest
        is_other = entry.digest != self._digest
        self._digest = entry.digest
        return is_other

    def pause_s(self, policy: Policy, roll: float) -> float | None:
        """How long to wait after a read that raised; None when nothing was seen yet, so that it should be raised."""
        if not self._digest:
            return None
        self._n_failed += 1
        wait_s = retry_in_s(self._n_failed, policy, roll)
        return policy.longest_retry_s if wait_s is None else wait_s
