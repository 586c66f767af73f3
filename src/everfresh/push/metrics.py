"""Metrics of the streams that this process serves, for Prometheus; install `everfresh[metrics]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everfresh.model.marks import override
from everfresh.push.tally import End, Tally, tallies

_COUNTERS: dict[str, tuple[str, Callable[[Tally], float]]] = {
    "opened": ("Streams that were opened.", lambda one: one.n_opened),
    "polls": ("Polls that were answered.", lambda one: one.n_polls),
    "changes": ("Values and states that were handed out, each once.", lambda one: one.n_changes),
    "deliveries": ("The same, once for each stream.", lambda one: one.n_deliveries),
    "skipped": ("Values that a newer one overtook before they were sent.", lambda one: one.n_skipped),
    "revoked": ("Topics that were taken away from open streams.", lambda one: one.n_revoked),
    "feed_failures": ("Times at which the feed failed, and all streams ended.", lambda one: one.n_feed_failures),
}


class PushCollector(Collector):
    """`everfresh_push_*`, of all `Updates` in this process together.

    prometheus_client.REGISTRY.register(PushCollector())
    """

    @override
    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        known = tallies()
        streams = GaugeMetricFamily("everfresh_push_streams", "Streams that are open.")
        streams.add_metric([], sum(one.n_open for one in known))
        yield streams
        for name, (text, count_of) in _COUNTERS.items():
            counter = CounterMetricFamily(f"everfresh_push_{name}", text)
            counter.add_metric([], sum(map(count_of, known)))
            yield counter
        ended = CounterMetricFamily("everfresh_push_ended", "Streams that have ended.", labels=("reason",))
        for reason in End:
            ended.add_metric([reason.value], sum(one.ended[reason] for one in known))
        yield ended
        refused = CounterMetricFamily("everfresh_push_refused", "Requests that were refused.", labels=("status",))
        for status in sorted({status for one in known for status in [*one.refused]}):
            refused.add_metric([str(status)], sum(one.refused[status] for one in known))
        yield refused
