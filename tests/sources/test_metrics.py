"""Metrics of what this process consumes."""

import subprocess
import sys

from prometheus_client import CollectorRegistry, generate_latest

from everfresh.sources.canary import Canary
from everfresh.sources.consuming import Consumer
from everfresh.sources.metrics import SourcesCollector
from everfresh.testing.broker import FakeBroker
from everfresh.testing.timeless import elapse, run_timeless
from tests.sources.consumed import World, message


def samples() -> dict[str, float]:
    """Each sample by its name and labels."""
    registry = CollectorRegistry()
    registry.register(SourcesCollector())
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_each_source_has_its_samples() -> None:
    """By its name; ages in seconds, and nothing for what nobody knows."""

    async def main() -> None:
        world, broker, other = World(), FakeBroker(), FakeBroker(name="other")
        async with world.cache, world.consuming(Consumer(broker, canary=Canary()), other):
            await elapse(5)
            broker.publish(message("a"), message("b"))
            await elapse(30)
            found = samples()

        assert found['everfresh_source_events_total{source="fake"}'] == 2
        assert found['everfresh_source_unreadable_total{source="fake"}'] == 0
        assert found['everfresh_source_gaps_total{source="other"}'] == 0
        assert found['everfresh_source_connected{source="fake"}'] == 1
        assert found['everfresh_source_problems{source="fake"}'] == 0
        assert found['everfresh_source_lag{source="fake"}'] == 0
        assert 29 <= found['everfresh_source_last_event_age_seconds{source="fake"}'] <= 31
        assert 33 <= found['everfresh_source_canary_age_seconds{source="fake"}'] <= 35
        assert 'everfresh_source_last_event_age_seconds{source="other"}' not in found

    run_timeless(main())
    assert samples() == {}


def test_nobody_needs_prometheus_who_does_not_ask_for_it() -> None:
    """The client is imported with the collector, and with nothing else."""
    code = (
        "import sys, everfresh.sources.consuming, everfresh.sources.urls; sys.exit('prometheus_client' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
