# ruff: noqa: ANN401 - arguments of any type are what is tested
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from everfresh.cache.declaring import declare
from everfresh.cache.events import encode_event
from everfresh.cache.notices import Notice, NoticeBoard
from everfresh.cache.options import Options
from everfresh.cache.predicates import WARN_AFTER_RUNS, Predicates
from everfresh.cache.spec import Spec
from everfresh.matching.shapes import Bucket
from everfresh.model.entry import Key, Lease, Recipe
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.applying import Candidate, Judge
from everfresh.protocol.requests import Policy

BUCKET, OTHER = Bucket(b"one"), Bucket(b"other")
user: ContextVar[str] = ContextVar("user")


def value(number: int) -> int:
    return number


class Court:
    """Predicates with one function, and what is told of them."""

    def __init__(self, predicate: Callable[..., Any] | None = None, **options: Any) -> None:
        if predicate is not None:
            options |= {"should_refresh": predicate, "topics": ("*",)}
        self.spec: Spec = declare(value, policy=Policy(), options=Options(**options))
        self.functions = {self.spec.name: self.spec}
        self.told: list[Notice] = []
        board = NoticeBoard()
        board.listen(self.told.append)
        self.predicates = Predicates(self.functions, board)

    def candidate(self, number: int, bucket: Bucket = BUCKET) -> Candidate:
        arguments = self.spec.signature.bind((number,), {})
        recipe = Recipe(self.spec.name, self.spec.signature.encode(arguments))
        return Candidate(bucket, Key(f"value:{number}"), recipe)

    def spared(self, *numbers: int, events: int = 1) -> set[str]:
        """Which of the candidates no event touches."""
        made = tuple(Event("a", {"number": number}) for number in range(events))
        request = Judge(tuple(map(self.candidate, numbers)), made, {BUCKET: tuple(range(events))})
        return set(self.predicates.judge(request).get(BUCKET, ()))


def test_those_that_it_says_no_to_are_spared() -> None:
    """And no others."""
    court = Court(lambda event, number: number > 1)

    assert court.spared(1, 2, 3, 0) == {"value:1", "value:0"}


def test_it_is_asked_for_the_events_of_the_bucket_alone() -> None:
    """Others are not about its topics."""
    asked: list[tuple[int, int]] = []
    court = Court(lambda event, number: asked.append((number, event.body["number"])))
    events = tuple(Event("a", {"number": number}) for number in range(3))
    spared = court.predicates.judge(
        Judge((court.candidate(7), court.candidate(8, OTHER)), events, {BUCKET: (0, 2), OTHER: (1,)})
    )

    assert asked == [(7, 0), (7, 2), (8, 1)]
    assert spared == {BUCKET: {"value:7"}, OTHER: {"value:8"}}


def test_a_candidate_without_events_is_touched() -> None:
    """Nothing says that it is not."""
    court = Court(lambda event, number: False)

    assert court.predicates.judge(Judge((court.candidate(7),), (), {})) == {}


def test_what_it_answers_is_taken_as_yes_or_no() -> None:
    """Whatever it is; what cannot be taken so has raised."""

    class Odd:
        def __bool__(self) -> bool:
            raise ValueError("neither")

    answers: dict[int, object] = {0: [], 1: [0], 2: None, 3: Odd()}
    court = Court(lambda event, number: answers[number])

    assert court.spared(*answers) == {"value:0", "value:2"}
    assert [notice.name for notice in court.told] == ["predicate.failed"]


def test_one_that_raises_spares_nobody() -> None:
    """It is told each time, by its function, the entry and the event's topic."""
    court = Court(lambda event, number: 1 / number)

    assert court.spared(0, 1) == set()
    assert court.told == [
        Notice(
            "predicate.failed",
            {
                "function": court.spec.name,
                "key": "value:0",
                "topic": "a",
                "error": "ZeroDivisionError: division by zero",
            },
        )
    ]


def test_an_interrupt_is_no_answer() -> None:
    """Ctrl-C ends the program."""

    def predicate(event: Event, number: int) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Court(predicate).spared(1)


def test_it_runs_in_an_empty_context() -> None:
    """Whoever publishes is nothing that it may hang on."""
    user.set("ann")
    court = Court(lambda event, number: user.get("nobody") == "ann")

    assert court.spared(1) == {"value:1"}


def test_a_function_that_is_not_here_spares_nobody() -> None:
    """Somebody else would know."""
    court = Court(lambda event, number: False)
    court.functions.clear()

    assert court.spared(1) == set()


def test_a_function_without_a_predicate_spares_nobody() -> None:
    """Another version of the program had one."""
    assert Court().spared(1) == set()


def test_arguments_of_another_signature_spare_nobody() -> None:
    """Whoever builds the entry is told."""
    court = Court(lambda event, number: False)
    request = Judge(
        (Candidate(BUCKET, Key("value:1"), Recipe(court.spec.name, b"\x80")),), (Event("a"),), {BUCKET: (0,)}
    )

    assert court.predicates.judge(request) == {}


def test_one_that_never_said_yes_is_warned_of_once() -> None:
    """After so many runs, however many they are at once."""
    court = Court(lambda event, number: False)
    court.spared(1, events=WARN_AFTER_RUNS - 1)
    n_before = len(court.told)
    court.spared(1, 2, events=WARN_AFTER_RUNS)

    assert n_before == 0
    assert court.told == [Notice("predicate.never", {"function": court.spec.name, "n_runs": 3 * WARN_AFTER_RUNS - 1})]


def test_one_that_said_yes_once_is_never_warned_of() -> None:
    """A rare yes is what it is for."""
    court = Court(lambda event, number: number == 0)
    court.spared(0)
    court.spared(1, events=2 * WARN_AFTER_RUNS)

    assert court.told == []


# --------------------------------------------------------------------------------------------------------- settled


def lease(event: Event | None) -> Lease:
    data = None if event is None else encode_event(event)
    return Lease(key=Key("value:7"), token=1, begun=Position("e1", 1), until=10.0, event=data)


@pytest.mark.parametrize("shown", [1, 2])
def test_the_function_says_whether_the_event_shows(shown: int) -> None:
    """By the event and the value."""
    court = Court(settled=lambda event, value: value >= event.body["version"])

    assert court.predicates.is_awaited(court.spec, lease(Event("a", {"version": 2})), shown) is (shown == 2)


@pytest.mark.parametrize("event", [None, Event("a", {"b": object()})], ids=["none", "not-written"])
def test_without_an_event_nobody_can_say(event: Event | None) -> None:
    """The function is not asked."""
    court = Court(settled=lambda event, value: True)

    assert court.predicates.is_awaited(court.spec, lease(event), 1) is None


def test_a_function_that_is_not_asked_says_nothing() -> None:
    """Then a changed value shows the event."""
    court = Court()

    assert court.predicates.is_awaited(court.spec, lease(Event("a")), 1) is None


def test_a_judge_that_raises_is_told_and_counts_as_yes() -> None:
    """Else the entry would be built again for as long as there are delays."""
    court = Court(settled=lambda event, value: event.body["version"] == value)

    assert court.predicates.is_awaited(court.spec, lease(Event("a")), 1) is True
    assert [notice.name for notice in court.told] == ["predicate.failed"]


def test_how_often_it_was_asked_and_said_yes_is_counted() -> None:
    """For whoever looks for one that never says yes, and for one that nobody asks."""
    court = Court(lambda event, number: number > 1)
    before = court.predicates.counts()
    court.spared(1, 2, 3)
    court.spared(1, events=2)

    assert before == {court.spec.name: (0, 0)}
    assert court.predicates.counts() == {court.spec.name: (5, 2)}


def test_a_function_without_a_predicate_is_not_counted() -> None:
    """There is nothing to ask."""
    assert Court().predicates.counts() == {}
