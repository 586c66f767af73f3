"""The nodes of a Cluster for a benchmark: masters alone, on free ports, each with its share of the slots."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.redis_server import Server, started

_N_SLOTS = 16_384
_AGREE_WITHIN_S = 20.0


@contextmanager
def cluster(n_nodes: int) -> Iterator[tuple[Server, ...]]:
    """So many of them; they end with the block."""
    with ExitStack() as stack:
        nodes = tuple(stack.enter_context(started({"cluster-enabled": "yes"}, is_node=True)) for _ in range(n_nodes))
        for number, node in enumerate(nodes):
            first, after_last = (_N_SLOTS * place // n_nodes for place in (number, number + 1))
            # Two of the same epoch would have to settle first who is newer.
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, after_last - 1)
            node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        _wait_for(nodes)
        yield nodes


def url_of(nodes: tuple[Server, ...]) -> str:
    """For stores on them."""
    return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"


def _wait_for(nodes: tuple[Server, ...]) -> None:
    ends_at = time.monotonic() + _AGREE_WITHIN_S
    while not all(_serves_all(node, len(nodes)) for node in nodes):
        if time.monotonic() > ends_at:
            msg = "the nodes do not agree on who serves what"
            raise TimeoutError(msg)
        time.sleep(0.05)


def _serves_all(node: Server, n_nodes: int) -> bool:
    slots: Any = node.client.execute_command("CLUSTER", "SLOTS")
    told: Any = node.client.execute_command("CLUSTER", "INFO")
    return len(slots) == n_nodes and "ok" in str(told).split("cluster_slots", maxsplit=1)[0]
