"""Metrics of the sources that this process consumes, for Prometheus; install `everfresh[metrics]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everfresh.model.marks import override
from everfresh.sources.reports import Status, statuses

_LABELS = ("source",)
_GAUGES: dict[str, tuple[str, Callable[[Status], float | None], Callable[[Sequence[float]], float]]] = {
    "connected": ("How many consumers are connected.", lambda one: float(one.is_connected), sum),
    "problems": ("How many consumers have something wrong.", lambda one: float(bool(one.problem)), sum),
    "last_event_age_seconds": ("Since the last message came.", lambda one: one.event_age_s, min),
    "canary_age_seconds": ("Since the last canary came.", lambda one: one.canary_age_s, min),
    "lag": ("How many messages wait at the source.", lambda one: one.lag, max),
}
_COUNTERS: dict[str, tuple[str, Callable[[Status], float]]] = {
    "events": ("Events that were applied.", lambda one: one.n_events),
    "unreadable": ("Messages that were no events.", lambda one: one.n_unreadable),
    "gaps": ("Times at which messages may have been lost.", lambda one: one.n_gaps),
}


class SourcesCollector(Collector):
    """`everfresh_source_*`, one sample for each source that is consumed in this process.

        prometheus_client.REGISTRY.register(SourcesCollector())

    What nobody knows, such as the age of an event when none has come, has no sample.
    """

    @override
    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        of_source: dict[str, list[Status]] = {}
        for status in statuses():
            of_source.setdefault(status.source, []).append(status)
        for name, (text, value_of, joined) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"everfresh_source_{name}", text, labels=_LABELS)
            for source, consumers in of_source.items():
                known = [value for one in consumers if (value := value_of(one)) is not None]
                if known:
                    gauge.add_metric([source], joined(known))
            yield gauge
        for name, (text, count_of) in _COUNTERS.items():
            counter = CounterMetricFamily(f"everfresh_source_{name}", text, labels=_LABELS)
            for source, consumers in of_source.items():
                counter.add_metric([source], sum(map(count_of, consumers)))
            yield counter
