"""Exposing: what Prometheus reads of this process, where its library is installed."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import NamedTuple


class Exposition(NamedTuple):
    """A page of metrics, and its media type."""

    media_type: str
    page: bytes


def exposition() -> Exposition | None:
    """The metrics of this process as they are now, its application's too; None without the library."""
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        return None
    _register()
    return Exposition(CONTENT_TYPE_LATEST, generate_latest(REGISTRY))


@cache
def _register() -> None:
    """Have sources and streams among the metrics, if the application has not done so."""
    from prometheus_client import REGISTRY  # noqa: PLC0415 - an extra

    from everfresh.push.metrics import PushCollector  # noqa: PLC0415 - needs an extra
    from everfresh.sources.metrics import SourcesCollector  # noqa: PLC0415 - needs an extra

    for collector in (SourcesCollector(), PushCollector()):
        # Else it is there already.
        with suppress(ValueError):
            REGISTRY.register(collector)
