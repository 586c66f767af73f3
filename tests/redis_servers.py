"""Real Redis servers for tests, alone, behind Sentinels, and as a Cluster.

One server is shared by all tests that need nothing special; each of them has a prefix of its own. Others start their
own, and may stop it, kill it, and start it again on the same data.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
from scripts.server_processes import HOST, ServerProcess, free_port, placed

from everfresh.model.marks import override
from everfresh.testing.waiting import until
from tests.needing import need

__all__ = [
    "CLI",
    "HOST",
    "SERVER",
    "Cluster",
    "RedisServer",
    "SentinelPair",
    "free_port",
    "new_prefix",
    "redis_cluster",
    "redis_server",
    "sentinel_pair",
]

# Another that speaks the same, as Valkey does: make valkey.
SERVER = Path(os.environ.get("EVERFRESH_REDIS_SERVER", "/usr/bin/redis-server"))
CLI = SERVER.with_name(SERVER.name.replace("-server", "-cli"))
SERVICE = "store"
# A Cluster's nodes talk on their port and this much above it.
_BUS = 10_000

Options = Mapping[str, str | int]


def need_redis() -> None:
    """Skip the test without a redis-server; fail it where one must not be missing."""
    need([SERVER, CLI], for_="the store on Redis", package="redis-server")


class RedisServer(ServerProcess):
    """One server. `options` are those of its configuration file; `password` is asked of everybody."""

    def __init__(
        self,
        folder: Path,
        options: Options | None = None,
        *,
        port: int | None = None,
        password: str | None = None,
    ) -> None:
        super().__init__(folder, port=port)
        self.socket = folder / "redis.sock"
        self.password = password
        self._options: dict[str, str | int] = {
            "port": self.port,
            "bind": HOST,
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "unixsocket": str(self.socket),
            "enable-debug-command": "yes",
            "databases": 16,
            **({"requirepass": password, "masterauth": password} if password else {}),
            **(options or {}),
        }

    @property
    def url(self) -> str:
        """For a store on it."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The same by its socket."""
        login = f":{self.password}@" if self.password else ""
        return f"unix://{login}{self.socket}?db=0"

    def client(self) -> "redis.Redis":
        """A plain client, to look and to meddle; the caller closes it."""
        return redis.Redis(HOST, self.port, password=self.password, protocol=3)

    @override
    def command(self) -> Sequence[str | Path]:
        file = self.folder / "redis.conf"
        file.write_text("".join(f'{name} "{value}"\n' for name, value in self._options.items()))
        return [SERVER, file]

    @override
    def is_ready(self) -> bool:
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def cut_connections(self) -> None:
        """Cut the connections of all clients."""
        with self.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@contextmanager
def redis_server(options: Options | None = None, *, password: str | None = None) -> Iterator[RedisServer]:
    """A server of one's own, running, its data in a folder that goes with it."""
    need_redis()
    with placed(lambda folder: RedisServer(folder, options, password=password)) as server:
        server.start()
        yield server


class Sentinel(RedisServer):
    """One that watches a master, and gives it up when it was silent for a second."""

    def __init__(self, folder: Path, master_port: int) -> None:
        super().__init__(folder)
        self._master_port = master_port

    @override
    def command(self) -> Sequence[str | Path]:
        file = self.folder / "redis.conf"
        # It writes into its file what it learns, so that is written once.
        if not file.exists():
            file.write_text(
                f"port {self.port}\nbind {HOST}\ndir {self.folder}\n"
                f"sentinel monitor {SERVICE} {HOST} {self._master_port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 5000\n"
            )
        return [SERVER, file, "--sentinel"]


class SentinelPair:
    """A master and a replica, watched by Sentinels that put the replica in the master's place."""

    def __init__(self, servers: tuple[RedisServer, RedisServer], sentinels: tuple[Sentinel, ...]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """For a store on whichever is the master."""
        places = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}/0"

    def master_port(self) -> int:
        """Where the master is, as the first Sentinel says."""
        with self.sentinels[0].client() as client:
            told: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
            return int(told[1])


@contextmanager
def sentinel_pair() -> Iterator[SentinelPair]:
    """A master with its replica in step, and three Sentinels that give a silent master up after a second."""
    need_redis()
    with ExitStack() as stack:
        make = partial(RedisServer, options={"repl-diskless-sync-delay": 0})
        master, replica = (stack.enter_context(placed(make)) for _ in range(2))
        master.start()
        replica.start()
        with replica.client() as client:
            client.execute_command("REPLICAOF", HOST, master.port)
        watch = partial(Sentinel, master_port=master.port)
        sentinels = tuple(stack.enter_context(placed(watch)) for _ in range(3))
        for sentinel in sentinels:
            sentinel.start()
        pair = SentinelPair((master, replica), sentinels)
        until(lambda: _is_in_step(replica), what="a replica in step with its master")
        until(lambda: all(map(_knows_all, sentinels)), what="Sentinels that know the replica and each other")
        yield pair


def _is_in_step(replica: RedisServer) -> bool:
    with replica.client() as client:
        return client.info("replication").get("master_link_status") == "up"


def _knows_all(sentinel: Sentinel) -> bool:
    with sentinel.client() as client:
        replicas: Any = client.execute_command("SENTINEL", "REPLICAS", SERVICE)
        others: Any = client.execute_command("SENTINEL", "SENTINELS", SERVICE)
    return len(replicas) == 1 and len(others) == 2


class Cluster:
    """Three masters, each with a replica."""

    def __init__(self, nodes: tuple[RedisServer, ...]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """For a store on it."""
        places = ",".join(f"{HOST}:{node.port}" for node in self.nodes[:3])
        return f"redis+cluster://{places}"


@contextmanager
def redis_cluster() -> Iterator[Cluster]:
    """A Cluster of six nodes, all slots served."""
    need_redis()
    options = {"cluster-enabled": "yes", "cluster-node-timeout": 2000, "repl-diskless-sync-delay": 0}
    with ExitStack() as stack:
        nodes = tuple(stack.enter_context(placed(lambda folder: _node(folder, options))) for _ in range(6))
        for node in nodes:
            node.start()
        places = [f"{HOST}:{node.port}" for node in nodes]
        command = [CLI, "--cluster", "create", *places, "--cluster-replicas", "1", "--cluster-yes"]
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert made.returncode == 0, made.stdout + made.stderr
        until(lambda: all(map(_serves_all, nodes)), what="a Cluster that serves all slots, with replicas")
        yield Cluster(nodes)


def _serves_all(node: RedisServer) -> bool:
    with node.client() as client:
        told = client.execute_command("CLUSTER", "INFO")
        text = told if isinstance(told, str) else told.decode() if isinstance(told, bytes) else str(told)
        is_replica = client.info("replication")["role"] == "slave"
    return "ok" in text.split("cluster_slots", maxsplit=1)[0] and (not is_replica or _is_in_step(node))


def _node(folder: Path, options: Options) -> RedisServer:
    return RedisServer(folder, options, port=free_port(above=_BUS))


def new_prefix() -> str:
    """A prefix that no other test has."""
    return f"t{secrets.token_hex(6)}"
