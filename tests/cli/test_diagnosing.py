"""What a doctor says, from what is known."""
# ruff: noqa: ANN401 - reports of any kind are what is told of

from typing import Any

import pytest

from everfresh.cache.predicates import WARN_AFTER_RUNS
from everfresh.cli.diagnosing import PRESENT_S, Finding, Known, Verdict, findings_of, worst_of
from everfresh.protocol.sourcing import Report, Reported, Sources, SourceState

NOW = 1_000_000.0
SOUND = {"is_connected": True, "topics": ("shop.#",), "last_event_at": NOW - 5, "lag": 3, "n_events": 1_234}


def reported(age_s: float = 1.0, consumer: str = "web:1", **fields: Any) -> Reported:
    """A report of a sound consumer, but for these fields, told so long ago."""
    return Reported(Report(source="bus", consumer=consumer, **{**SOUND, **fields}), at=NOW - age_s)


def known(*reports: Reported, n_quarantined: int = 0, **fields: Any) -> Known:
    """A source with these reports."""
    state = SourceState(source="bus", offset=None, reports=reports, n_quarantined=n_quarantined)
    return Known(sources=Sources(states=(state,), now=NOW), **fields)


def said(found: Known, about: str) -> Finding:
    """What is said about that."""
    (finding,) = [one for one in findings_of(found) if one.about == about]
    return finding


def test_a_sound_source_is_told_with_what_it_does() -> None:
    """How many consumers, when the last event came, and how much waits."""
    finding = said(known(reported(), reported(consumer="web:2", last_canary_at=NOW - 60)), "source bus")

    assert finding == Finding(
        "source bus",
        Verdict.OK,
        "2 consumers connected; last event 5 s ago, last canary 1 min ago, 3 messages behind, 2,468 events",
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"last_event_at": None}, "no event yet"),
        ({"lag": None}, "lag not known"),
        ({"lag": 0}, "0 messages behind"),
        ({"n_gaps": 2}, "2 gaps"),
    ],
)
def test_what_is_not_known_is_told_too(fields: dict[str, Any], words: str) -> None:
    """Nothing is made up."""
    assert words in said(known(reported(**fields)), "source bus").text


def test_what_came_before_a_new_start_came_too() -> None:
    """A consumer that has just begun does not make the last event of the one before it unknown."""
    ended = reported(PRESENT_S + 60, last_event_at=NOW - 120, last_canary_at=NOW - 180)
    begun = reported(consumer="web:2", last_event_at=None, n_events=0)

    assert said(known(ended, begun), "source bus").text == (
        "1 consumer connected; last event 2 min ago, last canary 3 min ago, 3 messages behind"
    )


@pytest.mark.parametrize(
    ("reports", "verdict", "words"),
    [
        ([reported(PRESENT_S + 1)], Verdict.PROBLEM, "no consumer for 31 s"),
        ([reported(PRESENT_S)], Verdict.OK, "1 consumer connected"),
        ([reported(is_connected=False, problem="refused.")], Verdict.PROBLEM, "not connected: refused; "),
        ([reported(is_connected=False)], Verdict.PROBLEM, "its consumers have ended"),
        ([reported(problem="nothing has come for 90 s")], Verdict.PROBLEM, "nothing has come for 90 s"),
        ([reported(), reported(consumer="b", is_connected=False)], Verdict.OK, "1 consumer connected"),
        ([reported(), reported(PRESENT_S + 1, "b", problem="gone")], Verdict.OK, "1 consumer connected"),
        ([reported(), reported(consumer="b", is_connected=False, problem="refused")], Verdict.PROBLEM, "refused"),
        ([reported(lag=10_000)], Verdict.WARNING, "10,000 messages behind"),
        ([reported(lag=9_999)], Verdict.OK, "9,999 messages behind"),
    ],
)
def test_a_source_is_as_well_as_its_consumers(reports: list[Reported], verdict: Verdict, words: str) -> None:
    """Those that have told nothing for long do not count, as long as others do."""
    finding = said(known(*reports), "source bus")

    assert finding.verdict is verdict
    assert words in finding.text
    assert bool(finding.todo) == (verdict is not Verdict.OK)


def test_a_source_that_only_has_a_place_has_no_consumer() -> None:
    """It was consumed once, and nobody tells of it."""
    state = SourceState(source="bus", offset="7", reports=(), n_quarantined=0)

    assert said(Known(sources=Sources(states=(state,), now=NOW)), "source bus").verdict is Verdict.WARNING


def test_what_was_posted_and_not_read_is_no_source_without_consumers() -> None:
    """It came over HTTP."""
    state = SourceState(source="http", offset=None, reports=(), n_quarantined=3)
    found = Known(sources=Sources(states=(state,), now=NOW))

    assert said(found, "quarantine") == Finding(
        "quarantine", Verdict.WARNING, "3 messages that nobody could read", "everfresh quarantine list APP"
    )
    assert "source http" not in {one.about for one in findings_of(found)}
    assert said(found, "sources").verdict is Verdict.OK


@pytest.mark.parametrize(
    ("topics", "is_delivered"),
    [(("#",), True), (("shop.*.paid",), True), (("shop.order.#",), True), (("bugs.#",), False), ((), False)],
)
def test_a_topic_that_no_source_delivers_is_named(topics: tuple[str, ...], is_delivered: bool) -> None:
    """With who waits for it; patterns that have a topic in common meet."""
    found = known(reported(topics=topics), functions_of={"shop.order.*": ["shop.page@1", "shop.list@1"]})

    warned = [one for one in findings_of(found) if one.verdict is Verdict.WARNING and one.about.startswith("topic ")]

    assert bool(warned) is not is_delivered
    for one in warned:
        assert (one.about, one.text) == (
            "topic shop.order.*",
            "no source delivers it; waited for by shop.page@1, shop.list@1",
        )


def test_a_topic_that_entries_track_has_no_function() -> None:
    """What is known of it is said."""
    found = known(reported(), functions_of={"bugs.*": [], "shop.order": ["shop.page@1"]})

    assert said(found, "topic bugs.*").text.endswith("waited for by entries that track it")
    assert said(found, "topics").text == "1 of 2 patterns met by what sources deliver"


@pytest.mark.parametrize(
    ("counts", "verdict", "words"),
    [
        ([(0, 0)], Verdict.WARNING, "never asked"),
        ([(0, 0), (5, 1)], Verdict.OK, "asked 5 times since the consumers began, and said yes 1 time"),
        ([(WARN_AFTER_RUNS - 1, 0)], Verdict.OK, "has not said yes yet"),
        ([(WARN_AFTER_RUNS // 2, 0)] * 2, Verdict.WARNING, "asked 1,000 times since the consumers began, and never"),
        ([], Verdict.OK, "not known"),
    ],
)
def test_a_predicate_that_never_said_yes_is_named(counts: list[tuple[int, int]], verdict: Verdict, words: str) -> None:
    """Over all consumers that run; a few times prove nothing."""
    reports = [
        reported(consumer=f"web:{number}", predicates={"shop.page@1": pair}) for number, pair in enumerate(counts)
    ]
    finding = said(known(*reports, predicates=["shop.page@1"]), "predicate of shop.page@1")

    assert finding.verdict is verdict
    assert words in finding.text


def test_the_consumers_of_one_process_count_once() -> None:
    """Each tells of the whole process, for its source."""
    states = tuple(
        SourceState(
            source=name,
            offset=None,
            n_quarantined=0,
            reports=(reported(predicates={"f@1": (WARN_AFTER_RUNS // 2, 0)}),),
        )
        for name in ("bus", "web")
    )

    found = Known(sources=Sources(states=states, now=NOW), predicates=["f@1"])

    assert said(found, "predicate of f@1").text.startswith("asked 500 times")


@pytest.mark.parametrize(
    ("fields", "about", "verdict", "words"),
    [
        ({"answer_s": 0.0015}, "store", Verdict.OK, "answers, in 1.5 ms"),
        ({"n_functions": 0}, "functions", Verdict.WARNING, "declares no cached functions"),
        ({"n_functions": 1}, "functions", Verdict.OK, "1 cached function declared"),
        ({"n_waiting": 2, "late_s": 60.0}, "workers", Verdict.OK, "2 entries to be built, none is late"),
        ({"n_waiting": 1, "late_s": 90.0}, "workers", Verdict.WARNING, "the first due for 2 min"),
        ({"n_failed": 1}, "builds", Verdict.WARNING, "1 entry given up"),
        ({}, "quarantine", Verdict.OK, "empty"),
        ({}, "topics", Verdict.OK, "nothing here depends on events by their topics"),
    ],
)
def test_the_cache_itself_is_told_of(fields: dict[str, Any], about: str, verdict: Verdict, words: str) -> None:
    """Its store, what is declared, what waits, and what was given up."""
    finding = said(known(reported(), **fields), about)

    assert finding.verdict is verdict
    assert words in finding.text


def test_what_the_store_warns_of_is_a_warning() -> None:
    """As that its server evicts by itself."""
    found = findings_of(known(reported(), warnings=["store.evicts"]))

    assert [one.text for one in found if one.about == "store" and one.verdict is Verdict.WARNING] == ["store.evicts"]


def test_the_gravest_verdict_counts() -> None:
    """A warning is no problem, and nothing at all is well."""
    made = {verdict: Finding("a", verdict, "") for verdict in Verdict}

    assert worst_of([]) is Verdict.OK
    assert worst_of([made[Verdict.WARNING], made[Verdict.OK]]) is Verdict.WARNING
    assert worst_of([made[Verdict.OK], made[Verdict.PROBLEM], made[Verdict.WARNING]]) is Verdict.PROBLEM
