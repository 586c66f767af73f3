"""What JetStream's driver says of messages and consumers, in our words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nats.aio.msg import Msg
from nats.js import api

from everfresh.model.message import Message
from everfresh.sources.jetstream_places import ALL_SUBJECTS, Extent, Progress

ID = "Nats-Msg-Id"
_OF_NATS = "Nats-"
_BY_ACKNOWLEDGEMENT = (api.RetentionPolicy.WORK_QUEUE, api.RetentionPolicy.INTEREST)


def number_of(come: Msg) -> int:
    """The number of a message in its stream."""
    return come.metadata.sequence.stream


def message_of(stream: str, number: int, come: Msg) -> Message:
    """A message as a source brings it."""
    headers = {str(name): str(value) for name, value in (come.headers or {}).items()}
    id_ = headers.get(ID) or f"{stream}:{number}"
    # Those are between the publisher and the server.
    headers = {name: value for name, value in headers.items() if not name.startswith(_OF_NATS)}
    return Message(
        topic=come.subject,
        body=bytes(come.data),
        headers=headers,
        id=id_,
    )


def problem_of(config: api.ConsumerConfig, subjects: Sequence[str]) -> str:
    """Why a consumer that is there cannot be used, empty when it can."""
    if config.deliver_subject:
        return "pushes its messages; a pull consumer is needed"
    if config.ack_policy != api.AckPolicy.EXPLICIT:
        return "does not have each message acknowledged; its ack policy must be explicit"
    if (config.max_deliver or -1) > 0:
        return f"gives a message up after {config.max_deliver} deliveries; its max deliver must be -1"
    if subjects and set(subjects) != (chosen := chosen_by(config)):
        return f"chooses other subjects, {', '.join(sorted(chosen))}; delete it, or name another durable"
    return ""


def chosen_by(config: api.ConsumerConfig) -> set[str]:
    """The subjects of a consumer."""
    one = [config.filter_subject] if config.filter_subject else []
    return {*(config.filter_subjects or ()), *one} or {ALL_SUBJECTS}


def skips(consumer: api.ConsumerInfo, floor: int) -> bool:
    """Whether it began later than after the floor."""
    config = consumer.config
    if config.deliver_policy == api.DeliverPolicy.ALL:
        return False
    is_by_number = config.deliver_policy == api.DeliverPolicy.BY_START_SEQUENCE
    return not is_by_number or (config.opt_start_seq or 0) > floor + 1


def progress_of(consumer: api.ConsumerInfo) -> Progress:
    """How far the consumer is."""
    floor = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
    given = consumer.delivered
    takes_all = chosen_by(consumer.config) == {ALL_SUBJECTS}
    n_skipped = given.stream_seq - given.consumer_seq if given is not None and takes_all else None
    return Progress(floor, consumer.num_pending or 0, consumer.num_ack_pending or 0, n_skipped)


def time_of(created: Any) -> str:  # noqa: ANN401 - the driver's type says less than it gives
    """When it was made, as it is stored."""
    return "" if created is None else created.isoformat().replace(" ", "T")


def goes_by_acknowledgement(stream: api.StreamInfo) -> bool:
    """Whether it keeps only what is not acknowledged."""
    return stream.config.retention in _BY_ACKNOWLEDGEMENT


def n_gone(stream: api.StreamInfo) -> int:
    """How many messages it has no more: whatever goes, and wherever, makes this more."""
    return stream.state.last_seq - stream.state.messages


def extent_of(before: api.StreamInfo, after: api.StreamInfo, holes: Sequence[int] = ()) -> Extent:
    """The stream of two looks: its end at the first, its beginning at the second."""
    return Extent(
        max(1, after.state.first_seq),
        before.state.last_seq,
        goes_by_acknowledgement=goes_by_acknowledgement(before),
        holes=holes,
    )
