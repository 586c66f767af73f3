"""What tests of streams say of the batches that they were given."""

from collections.abc import Sequence

from everfresh.sources.source import Batch, Stream


def texts(*batches: Batch) -> list[str]:
    """The bodies, in order."""
    return [message.body.decode() for batch in batches for message in batch.messages]


def gaps(batches: Sequence[Batch]) -> list[str]:
    """The losses that were told, in order."""
    return [batch.gap for batch in batches if batch.gap]


async def taken(stream: Stream, n: int, n_max: int = 100) -> list[Batch]:
    """Batches with so many messages, each acknowledged."""
    batches: list[Batch] = []
    while len(texts(*batches)) < n:
        batch = await stream.fetch(n_max, 5)
        assert batch.messages or batch.gap, texts(*batches)
        await stream.acknowledge(batch)
        batches.append(batch)
    return batches
