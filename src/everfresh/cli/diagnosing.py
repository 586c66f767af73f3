"""Diagnosing: from what is known of a cache and its sources to what is well, what is not, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum

import msgspec

from everfresh.cache.explaining import span
from everfresh.cache.predicates import WARN_AFTER_RUNS
from everfresh.cli.words import count
from everfresh.matching.covering import may_meet
from everfresh.protocol.sourcing import Report, Reported, Sources, SourceState

PRESENT_S = 30.0
"""A consumer tells every five seconds; one that has told nothing for so long is gone, or hangs."""

# Events that wait for minutes where a process applies thousands a second.
_MUCH_LAG = 10_000
# A worker looks several times a second.
_LATE_S = 60.0

_UNUSED = "if it is not used any more: `everfresh sources forget APP NAME`"


class Verdict(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """How a thing stands."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    """How one thing stands, and what to do about it; `todo` is empty when there is nothing to do."""

    about: str
    verdict: Verdict
    text: str
    todo: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out of a cache.

    `functions_of` says by whom the events of each topic pattern are waited for. `n_failed` entries are given up,
    `n_waiting` are to be built, of which the first one has been due for `late_s`. `n_functions` are declared;
    `predicates` are the names of those that judge events. `warnings` were logged while the store was asked.
    """

    sources: Sources
    functions_of: Mapping[str, Sequence[str]] = {}
    predicates: Sequence[str] = ()
    n_functions: int = 0
    n_failed: int = 0
    n_waiting: int = 0
    late_s: float = 0.0
    answer_s: float = 0.0
    warnings: Sequence[str] = ()


def findings_of(known: Known) -> list[Finding]:
    """All that is to be said, in the order in which events go their way."""
    return [
        *_of_store(known),
        *_of_entries(known),
        *_of_sources(known.sources),
        _of_quarantine(known.sources),
        *_of_topics(known),
        *_of_predicates(known),
    ]


def worst_of(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict of all."""
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK)


def _of_store(known: Known) -> Iterator[Finding]:
    yield Finding("store", Verdict.OK, f"answers, in {known.answer_s * 1000:.1f} ms")
    for warning in known.warnings:
        yield Finding("store", Verdict.WARNING, warning, "the line says what to do")


def _of_entries(known: Known) -> Iterator[Finding]:
    if not known.n_functions:
        text = "the module declares no cached functions"
        yield Finding("functions", Verdict.WARNING, text, "import all that declares some in APP's module")
    else:
        yield Finding("functions", Verdict.OK, f"{count(known.n_functions, 'cached function')} declared")
    if known.late_s > _LATE_S:
        text = f"{count(known.n_waiting, 'entry', 'entries')} to be built, the first due for {span(known.late_s)}"
        yield Finding("workers", Verdict.WARNING, text, "does `everfresh worker` run, and are there enough of them?")
    else:
        text = f"{count(known.n_waiting, 'entry', 'entries')} to be built, none is late"
        yield Finding("workers", Verdict.OK, text)
    if known.n_failed:
        text = f"{count(known.n_failed, 'entry', 'entries')} given up after failed builds"
        yield Finding("builds", Verdict.WARNING, text, "everfresh entries APP --state failed")


# ---------------------------------------------------------------------------------------------------------- sources


def _of_sources(sources: Sources) -> Iterator[Finding]:
    # What was posted and could not be read stands under a name too, and has no consumer.
    consumed = [state for state in sources.states if state.reports or state.offset is not None]
    if not consumed:
        text = "none has ever told anything: events come from `publish` and over HTTP alone"
        yield Finding("sources", Verdict.OK, text, "if there should be one, start `everfresh consume`")
    for state in consumed:
        yield _of_source(state, sources.now)


def _of_source(state: SourceState, now: float) -> Finding:
    about = f"source {state.source}"
    if not state.reports:
        return Finding(
            about, Verdict.WARNING, "no consumer has told of itself", f"start `everfresh consume`; {_UNUSED}"
        )
    present = present_of(state.reports, now)
    alive = [report for report in present if report.is_connected]
    facts = ", ".join(_facts(state, present or [one.report for one in state.reports], now))
    if not present:
        since = span(now - max(one.at for one in state.reports))
        text = f"no consumer for {since}; {facts}"
        todo = f"start `everfresh consume`, or look why it ended; {_UNUSED}"
        return Finding(about, Verdict.PROBLEM, text, todo)
    problems = list(dict.fromkeys(report.problem.rstrip(".") for report in present if report.problem))
    if not alive:
        text = f"not connected: {'; '.join(problems) or 'its consumers have ended'}; {facts}"
        todo = "mend the source, or its address" if problems else "start `everfresh consume`, or look why it ended"
        return Finding(about, Verdict.PROBLEM, text, todo)
    consumers = count(len(alive), "consumer")
    if problems:
        text = f"{consumers} connected; {'; '.join(problems)}; {facts}"
        return Finding(about, Verdict.PROBLEM, text, "look at the consumers' logs")
    text = f"{consumers} connected; {facts}"
    if max(report.lag or 0 for report in alive) >= _MUCH_LAG:
        return Finding(about, Verdict.WARNING, text, "they are behind: start more consumers, or a faster store")
    return Finding(about, Verdict.OK, text)


def _facts(state: SourceState, reports: Sequence[Report], now: float) -> Iterator[str]:
    # What came to a consumer that has ended came too: after each new start it would seem that nothing ever did.
    told = [one.report for one in state.reports]
    last = max((report.last_event_at for report in told if report.last_event_at is not None), default=None)
    yield "no event yet" if last is None else f"last event {span(now - last)} ago"
    canary = max((report.last_canary_at for report in told if report.last_canary_at is not None), default=None)
    if canary is not None:
        yield f"last canary {span(now - canary)} ago"
    lags = [report.lag for report in reports if report.lag is not None]
    yield f"{count(max(lags), 'message')} behind" if lags else "lag not known"
    for n, what in (
        (sum(report.n_events for report in reports), "event"),
        (sum(report.n_gaps for report in reports), "gap"),
    ):
        if n:
            yield count(n, what)
    if state.n_quarantined:
        yield f"{state.n_quarantined:,} in quarantine"


def present_of(reports: Iterable[Reported], now: float) -> list[Report]:
    """Those that were told lately."""
    return [one.report for one in reports if now - one.at <= PRESENT_S]


def _of_quarantine(sources: Sources) -> Finding:
    n = sum(state.n_quarantined for state in sources.states)
    if not n:
        return Finding("quarantine", Verdict.OK, "empty")
    text = f"{count(n, 'message')} that nobody could read"
    return Finding("quarantine", Verdict.WARNING, text, "everfresh quarantine list APP")


# ----------------------------------------------------------------------------------------------------------- topics


def _of_topics(known: Known) -> Iterator[Finding]:
    delivered = {topic for state in known.sources.states for one in state.reports for topic in one.report.topics}
    if not known.functions_of:
        yield Finding("topics", Verdict.OK, "nothing here depends on events by their topics")
        return
    missing: dict[str, Sequence[str]] = {
        pattern: functions
        for pattern, functions in known.functions_of.items()
        if not any(may_meet(pattern, topic) for topic in delivered)
    }
    n_delivered = len(known.functions_of) - len(missing)
    if n_delivered:
        text = f"{n_delivered:,} of {count(len(known.functions_of), 'pattern')} met by what sources deliver"
        yield Finding("topics", Verdict.OK, text)
    for pattern, functions in sorted(missing.items()):
        who = ", ".join(functions) or "entries that track it"
        text = f"no source delivers it; waited for by {who}"
        todo = "consume it from a source; all is well if the application publishes it itself"
        yield Finding(f"topic {pattern}", Verdict.WARNING, text, todo)


# ------------------------------------------------------------------------------------------------------- predicates


def _of_predicates(known: Known) -> Iterator[Finding]:
    reports = [report for state in known.sources.states for report in present_of(state.reports, known.sources.now)]
    # Consumers of one process tell the same counts, each for its source.
    of_process = {report.consumer: report.predicates for report in reports}
    for name in sorted(known.predicates):
        counts = [one[name] for one in of_process.values() if name in one]
        yield _of_predicate(name, counts)


def _of_predicate(name: str, counts: Sequence[tuple[int, int]]) -> Finding:
    about = f"predicate of {name}"
    if not counts:
        return Finding(about, Verdict.OK, "not known: no consumer that runs now has told of it")
    n_asked, n_yes = (sum(numbers) for numbers in zip(*counts, strict=True))
    since = "since the consumers began"
    if not n_asked:
        todo = "nothing, if none of its topics came; else look at its `topics`, and whether it has entries"
        return Finding(about, Verdict.WARNING, f"never asked {since}", todo)
    asked = f"asked {count(n_asked, 'time')} {since}"
    if n_yes:
        return Finding(about, Verdict.OK, f"{asked}, and said yes {count(n_yes, 'time')}")
    if n_asked < WARN_AFTER_RUNS:
        return Finding(about, Verdict.OK, f"{asked}, and has not said yes yet")
    return Finding(about, Verdict.WARNING, f"{asked}, and never said yes", "does it compare what is never equal?")
