"""The worker: takes what is due from the queue and builds it before anyone asks."""

from everfresh.refresh.worker import Worker

__all__ = ["Worker"]
