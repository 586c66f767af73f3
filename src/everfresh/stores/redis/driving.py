"""The driver, as this store uses it: its clients, and how they are made.

It repeats nothing by itself: by its defaults it would run a script up to eleven times.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from everfresh.stores.redis.addresses import Address

# A step takes well under a millisecond; whoever reads is better served by the function than by waiting longer.
TIMEOUT_S = 2.0
_N_SCANNED, _N_REMOVED = 1_000, 200


def _options(address: Address, retry: object) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "protocol": 3,
        "legacy_responses": False,
        "decode_responses": False,
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": retry,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if address.tls is not None:
        options |= {"ssl": True, **address.tls}
        options["ssl_check_hostname"] = address.tls.get("ssl_cert_reqs") != "none"
    return options


# The driver's types are partly unknown, and its clients share none: what is called of them is the same in both colours.
BLOCKING: Any = SimpleNamespace(
    server=redis.Redis, cluster=redis.RedisCluster, node=ClusterNode, sentinel=Sentinel, retry=Retry
)
OF_LOOP: Any = SimpleNamespace(server=redis.asyncio.Redis, sentinel=AsyncSentinel, retry=AsyncRetry)


def made(driver: Any, address: Address, greet: Any) -> tuple[Any, Sequence[Any]]:  # noqa: ANN401 - as above
    """A client of the driver that greets whoever answers, and the clients that it asks where the master is."""
    options = _options(address, driver.retry(NoBackoff(), 0))
    greeted = options | {"redis_connect_func": greet}
    match address.kind:
        case "server" | "cluster":
            # Of a Cluster, each node has clients of its own.
            (host, port) = address.hosts[0]
            return driver.server(host=host, port=port, db=address.db, **greeted), ()
        case "socket":
            return driver.server(unix_socket_path=address.path, db=address.db, **greeted), ()
        case "sentinel":
            of_sentinels = {**options, "username": None, "password": address.sentinel_password}
            sentinel = driver.sentinel(list(address.hosts), sentinel_kwargs=of_sentinels, db=address.db, **greeted)
            return sentinel.master_for(address.service), sentinel.sentinels


def map_of(address: Address) -> Any:  # noqa: ANN401 - the driver's clients share no type
    """A client of the driver that asks a Cluster which node serves which slot. Raises the driver's errors."""
    nodes = [BLOCKING.node(*host) for host in address.hosts]
    return BLOCKING.cluster(startup_nodes=nodes, **_options(address, Retry(NoBackoff(), 0)))


def removed(client: Any, pattern: str) -> int:  # noqa: ANN401 - the driver's clients share no type
    """Remove all keys whose names match, wherever they stand; how many there were. For who is alone here."""
    n_removed = 0
    names: list[bytes] = []
    for name in client.scan_iter(pattern, count=_N_SCANNED):
        names.append(name)
        if len(names) == _N_REMOVED:
            n_removed += client.unlink(*names)
            names = []
    return n_removed + (client.unlink(*names) if names else 0)
