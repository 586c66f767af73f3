"""Listening for one follower on an open question."""

from typing import Any, cast

import pytest

from everfresh.stores.redis import hearing
from everfresh.stores.redis.hearing import Ear
from everfresh.stores.redis.identity import Identity
from everfresh.stores.redis.reading import Lines


class SilentLines:
    """Connections on which nothing ever comes, and nobody says that they are dead."""

    def __init__(self) -> None:
        self.n_asked = self.n_dropped = 0

    def begin(self, command: bytes) -> object:
        self.n_asked += 1
        return object()

    def drop(self, connection: object) -> None:
        self.n_dropped += 1


@pytest.mark.parametrize("overdue_s", [60.0, 0.0])
def test_a_question_that_went_nowhere_is_asked_again(monkeypatch: pytest.MonkeyPatch, overdue_s: float) -> None:
    """By another connection; one that may still be answered is left open."""
    monkeypatch.setattr(hearing, "_has_news", lambda connection, wait_s: False)
    monkeypatch.setattr(hearing, "_OVERDUE_S", overdue_s)
    monkeypatch.setattr(Identity, "is_of_another", lambda self, connection: False)
    lines = SilentLines()
    ear = Ear(cast("Lines", cast("Any", lines)), Identity())

    assert [ear.hear(b"x", b"0-0", 0.0) for _ in range(3)] == [(), (), ()]

    assert (lines.n_asked, lines.n_dropped) == ((3, 2) if overdue_s == 0 else (1, 0))
