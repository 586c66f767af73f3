"""The steps of sources: how they fare, and messages that nobody could read.

How far they have come is written by `apply`, with what it stands for (ADR-0026).
"""

from __future__ import annotations

from msgspec.structs import replace

from everfresh.protocol.sourcing import (
    MAX_REPORTS,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Release,
    Reported,
    Sources,
    SourceState,
    Tell,
    Unreadable,
)
from everfresh.stores.tables import Tables


def tell(tables: Tables, request: Tell) -> float:
    """Carry out `Tell`."""
    report, now = request.report, tables.journal.now
    others = [told for told in tables.reports(report.source) if told.report.consumer != report.consumer]
    tables.set_reports(report.source, (Reported(report, now), *others[: MAX_REPORTS - 1]))
    return now


def read_sources(tables: Tables, request: ReadSources) -> Sources:
    """Carry out `ReadSources`."""
    known = set(tables.known_sources())
    names = known if request.names is None else known.intersection(request.names)
    states = [
        SourceState(
            source=name, offset=tables.offset(name), reports=tables.reports(name), n_quarantined=tables.n_kept(name)
        )
        for name in sorted(names)
    ]
    return Sources(tuple(states), tables.journal.now)


def quarantine(tables: Tables, request: Quarantine) -> int:
    """Carry out `Quarantine`."""
    for message in request.messages:
        tables.keep(replace(message, at=tables.journal.now))
    n_gone = max(0, tables.n_kept() - request.n_max)
    if n_gone:
        tables.release_oldest(n_gone)
    return n_gone


def read_quarantine(tables: Tables, request: ReadQuarantine) -> tuple[Unreadable, ...]:
    """Carry out `ReadQuarantine`."""
    return tuple(tables.kept(request.ids, request.source, request.n_max))


def release(tables: Tables, request: Release) -> int:
    """Carry out `Release`."""
    return tables.release(set(request.ids))
