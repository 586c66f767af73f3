"""Script: rules under test, played line by line. What they ask is looked at, and what they get is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from everfresh.protocol.requests import Request, Steps

T = TypeVar("T")


class Script(Generic[T]):
    """Plays one run of the rules.

    script = Script(read(CALL, NOTHING_OLD))

    script.asks(Load(KEY, FINGERPRINT)).gets(loaded(entry()))

    assert script.result == entry()
    """

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._results: list[T] = []
        self.request: Request[Any] | None = None
        """What is asked now; None at the end."""
        self._go_on(lambda: next(steps))

    def asks(self, request: Request[Any]) -> Script[T]:
        """The next request is this one."""
        assert self.request == request
        return self

    def gets(self, answer: object) -> None:
        """The request is answered."""
        self._go_on(lambda: self._steps.send(answer))

    def meets(self, error: BaseException) -> None:
        """Carrying out the request raises."""
        self._go_on(lambda: self._steps.throw(error))

    def is_abandoned(self) -> None:
        """The driver is gone, and will carry out nothing more."""
        self._steps.close()

    @property
    def result(self) -> T:
        """What the rules gave at their end."""
        assert self._results, f"not at its end: it asks {self.request}"
        return self._results[0]

    def _go_on(self, step: Callable[[], Request[Any]]) -> None:
        try:
            self.request = step()
        except StopIteration as stop:
            self.request = None
            self._results.append(stop.value)
