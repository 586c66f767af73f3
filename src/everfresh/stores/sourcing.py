"""The steps of sources: how they fare, and messages that nobody could read.

How far they have come is written by `apply`, with what it stands for (ADR-0026).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from everfresh.protocol.sourcing import (
    MAX_REPORTS,
    Forget,
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


def forget(tables: Tables, request: Forget) -> int:
    """Carry out `Forget`."""
    return sum(tables.forget_source(source) for source in set(request.sources))


def quarantine(tables: Tables, request: Quarantine) -> int:
    """Carry out `Quarantine`."""
    for message in request.messages:
        tables.keep(replace(message, at=tables.journal.now, place=0))
    n_gone = _n_beyond(tables.kept_bytes(), request)
    if n_gone:
        tables.release_oldest(n_gone)
    return n_gone


def _n_beyond(sizes: Sequence[int], request: Quarantine) -> int:
    """How many of the oldest have to go."""
    n_bytes = sum(sizes)
    for n_gone, size in enumerate(sizes):
        if len(sizes) - n_gone <= request.n_max and n_bytes <= request.max_bytes:
            return n_gone
        n_bytes -= size
    return len(sizes)


def read_quarantine(tables: Tables, request: ReadQuarantine) -> tuple[Unreadable, ...]:
    """Carry out `ReadQuarantine`."""
    if request.ids is not None:
        return tuple(tables.kept(request.ids))
    found: list[Unreadable] = []
    n_bytes = 0
    for message, size in tables.kept_after(request.after, request.source):
        if n_bytes > request.max_bytes or len(found) >= request.n_max:
            break
        found.append(message)
        n_bytes += size
    return tuple(found)


def release(tables: Tables, request: Release) -> int:
    """Carry out `Release`."""
    return tables.release(set(request.ids))
