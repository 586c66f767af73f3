"""Real Redis servers for tests: on free ports of this machine or on sockets, in folders of their own, ended after.

One server is shared by all tests that need nothing special; each of them has a prefix of its own. Others start their
own, and may stop it, kill it, and start it again on the same data.
"""

import os
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from everfresh.testing.waiting import until

# Another that speaks the same, as Valkey does: make valkey.
SERVER = Path(os.environ.get("EVERFRESH_REDIS_SERVER", "/usr/bin/redis-server"))
CLI = SERVER.with_name(SERVER.name.replace("-server", "-cli"))
HOST = "127.0.0.1"
SERVICE = "store"
# A Cluster's nodes talk on their port and this much above it.
_BUS = 10_000
_ENDS_WITHIN_S = 10.0

Options = Mapping[str, str | int]


def need_redis() -> None:
    """Skip the test without a redis-server; fail it where one must not be missing."""
    missing = [path for path in (SERVER, CLI) if not path.exists()]
    if missing:
        problem = (
            f"{missing[0]} is missing, so nobody has tried the store on Redis. Install it: apt-get install redis-server"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)


class RedisServer:
    """One server. `options` are those of its configuration file; `password` is asked of everybody."""

    def __init__(
        self,
        folder: Path,
        options: Options | None = None,
        *,
        port: int | None = None,
        password: str | None = None,
        has_port: bool = True,
    ) -> None:
        self.folder = folder
        self.port = (free_port() if port is None else port) if has_port else 0
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
        self._process: subprocess.Popen[bytes] | None = None

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
        if not self.port:
            return redis.Redis(unix_socket_path=str(self.socket), password=self.password, protocol=3)
        return redis.Redis(HOST, self.port, password=self.password, protocol=3)

    def start(self, *, sentinel: bool = False) -> None:
        """Start it, on the data that is there, and wait until it answers."""
        assert self._process is None
        file = self.folder / "redis.conf"
        if not sentinel or not file.exists():
            lines = (_line(name, str(value)) for name, value in self._options.items())
            file.write_text("\n".join(lines) + "\n")
        command = [SERVER, file, *(["--sentinel"] if sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers, what=f"an answer of the redis-server in {self.folder}")

    def kill(self) -> None:
        """End it at once, as a crash does: what it has not written is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; repeating is safe."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it stand still; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def cut_connections(self) -> None:
        """Cut the connections of all clients."""
        with self.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        if number is not signal.SIGKILL:
            # One that stands still hears of nothing else.
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


@contextmanager
def redis_server(options: Options | None = None, *, password: str | None = None) -> Iterator[RedisServer]:
    """A server of one's own, running, its data in a folder that goes with it."""
    need_redis()
    # A socket's path may have about a hundred bytes, and pytest's folders have more.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), options, password=password)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class SentinelPair:
    """A master and a replica, watched by Sentinels that put the replica in the master's place."""

    def __init__(self, servers: tuple[RedisServer, RedisServer], sentinels: tuple[RedisServer, ...]) -> None:
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
        master, replica = (_server_in(stack, {"repl-diskless-sync-delay": 0}) for _ in range(2))
        master.start()
        replica.start()
        with replica.client() as client:
            client.execute_command("REPLICAOF", HOST, master.port)
        sentinels = tuple(_sentinel_in(stack, master.port) for _ in range(3))
        pair = SentinelPair((master, replica), sentinels)
        until(lambda: _is_in_step(replica), what="a replica in step with its master")
        until(lambda: all(map(_knows_all, sentinels)), what="Sentinels that know the replica and each other")
        yield pair


def _sentinel_in(stack: ExitStack, master_port: int) -> RedisServer:
    sentinel = _server_in(stack, {}, is_sentinel=True)
    lines = (
        f"port {sentinel.port}",
        f"bind {HOST}",
        f"dir {sentinel.folder}",
        f"sentinel monitor {SERVICE} {HOST} {master_port} 2",
        f"sentinel down-after-milliseconds {SERVICE} 1000",
        f"sentinel failover-timeout {SERVICE} 5000",
    )
    # It writes into its file what it learns, so that is written once.
    (sentinel.folder / "redis.conf").write_text("\n".join(lines) + "\n")
    sentinel.start(sentinel=True)
    return sentinel


def _is_in_step(replica: RedisServer) -> bool:
    with replica.client() as client:
        return client.info("replication").get("master_link_status") == "up"


def _knows_all(sentinel: RedisServer) -> bool:
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
        nodes = tuple(_server_in(stack, options, is_node=True) for _ in range(6))
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


def _server_in(stack: ExitStack, options: Options, *, is_node: bool = False, is_sentinel: bool = False) -> RedisServer:
    """A server that is not started yet, its folder, and its end."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
    port = free_port(is_node=is_node)
    server = RedisServer(Path(folder), {} if is_sentinel else options, port=port)
    stack.callback(server.stop)
    return server


_given: set[int] = set()


def free_port(*, is_node: bool = False) -> int:
    """A port that nobody listens on, given once; of a Cluster's node, its second one is free too."""
    while True:
        with socket.socket() as one:
            one.bind((HOST, 0))
            port = int(one.getsockname()[1])
        if port in _given or (is_node and not _is_free(port + _BUS)):
            continue
        _given.add(port)
        return port


def _is_free(port: int) -> bool:
    if port >= 2**16:
        return False
    with socket.socket() as one:
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return True


def new_prefix() -> str:
    """A prefix that no other test has."""
    return f"t{secrets.token_hex(6)}"


def _line(name: str, value: str) -> str:
    return f'{name} "{value}"'
