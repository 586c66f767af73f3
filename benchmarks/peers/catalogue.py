"""Which libraries Everfresh stands beside, each as its documentation says to use it, and what it does not promise."""

from benchmarks.peers.embedded_peers import EMBEDDED
from benchmarks.peers.framework_peers import FRAMEWORKS
from benchmarks.peers.peer import Peer

__all__ = ["OURS", "PEERS", "Peer", "peer_of"]

_ABOUT_US = {"environment": "", "package": "everfresh", "invalidates": "event, tag, key"}
_USED = "all options as they are; functions that depend on topics and tags, `publish` and `invalidate`"
OURS: tuple[Peer, ...] = (
    Peer(
        name="Everfresh, memory",
        module="everfresh_memory",
        async_module="everfresh_memory_async",
        options=f'`Cache("memory:")`, {_USED}; threads and tasks',
        lacks="sharing with other processes",
        **_ABOUT_US,
    ),
    Peer(
        name="Everfresh, SQLite",
        module="everfresh_sqlite",
        async_module="everfresh_sqlite_async",
        options=f'`Cache("sqlite:///FILE")`, {_USED}; threads and tasks',
        lacks="sharing with other machines",
        store="files",
        **_ABOUT_US,
    ),
    Peer(
        name="Everfresh, Redis",
        module="everfresh_redis",
        async_module="everfresh_redis_async",
        options=f'`Cache("redis://...")`, {_USED} with `acknowledged=True`; threads and tasks',
        lacks="without `acknowledged=True`, that other processes have heard of it when it returns",
        store="redis",
        **_ABOUT_US,
    ),
)
# Ours is first, and its failures are shown like anybody's.
PEERS: tuple[Peer, ...] = (*OURS, *EMBEDDED, *FRAMEWORKS)


def peer_of(module: str) -> Peer:
    """The peer with that adapter, or with that name."""
    return next(peer for peer in PEERS if module in (peer.name, *peer.modules))
