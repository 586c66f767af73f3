"""What of a JetStream stream is consumed, and by which consumer of the server."""

from __future__ import annotations

from dataclasses import dataclass

from nats.js import api

# More than a few processes hold; by the server's own default two of them would be enough to stop all others.
_MAX_OPEN = 20_000
# After a process that ends without a word.
_TAP_ENDS_AFTER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is consumed, and where; `place` is for people."""

    place: str
    stream: str
    durable: str
    subjects: tuple[str, ...]
    starts_at_all: bool
    ack_wait_s: float
    domain: str | None
    is_tap: bool = False
    """Whether it only looks: its consumer ends with it, and waits for no acknowledgement."""

    def consumer(self, floor: int | None) -> api.ConsumerConfig:
        """A consumer that begins after the floor; where nothing is stored, None, as it was said."""
        policy = api.DeliverPolicy.ALL if self.starts_at_all else api.DeliverPolicy.NEW
        return api.ConsumerConfig(
            durable_name=self.durable,
            deliver_policy=policy if floor is None else api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if floor is None else floor + 1,
            ack_policy=api.AckPolicy.NONE if self.is_tap else api.AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_s,
            max_deliver=-1,
            max_ack_pending=None if self.is_tap else _MAX_OPEN,
            inactive_threshold=_TAP_ENDS_AFTER_S if self.is_tap else None,
            filter_subject=self.subjects[0] if len(self.subjects) == 1 else None,
            filter_subjects=list(self.subjects) if len(self.subjects) > 1 else None,
        )
