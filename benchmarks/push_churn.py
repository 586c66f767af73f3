"""An hour of visitors who come, leave, stall, come back and are refused: what the server holds stays the same.

    python -m benchmarks push_churn [--minutes N]

Every ten seconds all visitors but a few leave for a second, garbage is collected, and the server says what it holds.
The median of the last tenth of these is compared with that of the second tenth; in the first one caches fill. The few
stay, so that what all streams share is never begun anew, which would hide what it gathers. What is shared with other
processes (PSS) is told too, but hangs on how many of them run.
"""

import asyncio
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO, cast
from urllib.parse import urlencode, urlsplit

import msgspec
import uvloop
from benchmarks.push_churn_state import KEY, N_BUILT, N_NUMBERS, N_ROOMS, N_USERS, State, room_now
from benchmarks.report import Report

from everfresh.push.tokens import TopicTokens

MINUTES = 60.0
_ROUND_S = 10.0
_PER_S = 80
_STAY_S, _LONGEST_S = 8.0, 20.0
_STALL_S = 7.0
_REST_S = 1.0
_WITHIN_S = 15.0
_LOOK_S = 0.05
_RETRY_S = 0.5
_N_STAYING = 8
_TAIL_BYTES = 4_096
_RECEIVE_BUFFER_BYTES = 4_096
_ID = re.compile(rb"\nid: ([^\n]+)\n")
_ANSWER = b"HTTP/1.1 "
_MIB = 1 << 20
_N_SHOWN = 12
_RESET = struct.pack("ii", 1, 0)


def main(report: Report, minutes: float = MINUTES) -> None:
    """Measure and print."""
    print(f"\n{minutes:g} minutes of churn, {_PER_S} visitors a second", flush=True)
    command = [sys.executable, "-m", "benchmarks.push_churn_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            url = cast("IO[str]", process.stdout).readline().strip()
            if not url:
                raise RuntimeError("the server of push_churn did not start")
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                states = runner.run(_churned(url, minutes * 60))
        finally:
            cast("IO[str]", process.stdin).close()
            process.wait(_WITHIN_S)
    _hold(report, states)


class _Client(asyncio.Protocol):
    """One connection: what came last, and the last id."""

    def __init__(self, request: bytes, n_of: Counter[str]) -> None:
        self._request = request
        self._n_of = n_of
        self.transport: asyncio.Transport
        self.tail = b""
        self.cursor = ""
        self.has_answer = asyncio.Event()
        self.is_lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note what comes."""
        if data.startswith(_ANSWER):
            self._n_of[data[len(_ANSWER) :][:3].decode()] += 1
        found = _ID.findall(self.tail[-200:] + data)
        if found:
            self.cursor = found[-1].decode("latin-1")
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        self.has_answer.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """Note the end."""
        self.is_lost.set()
        self.has_answer.set()


class _Street:
    """Sends visitors."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._random = random.Random(6)  # noqa: S311 - the same each time
        self._tokens = TopicTokens(KEY)
        self.visits: set[asyncio.Task[None]] = set()
        self.n_visits = 0
        self.n_of: Counter[str] = Counter()
        """How many answers of which status there were."""

    def send_one(self) -> None:
        """One comes who does something or other."""
        kinds = {
            self._leaving: 30,
            self._breaking_off: 20,
            self._stalling: 10,
            self._coming_back: 20,
            self._polling: 10,
            self._refused: 6,
            self._half: 4,
        }
        (kind,) = self._random.choices([*kinds], [*kinds.values()])
        self.n_visits += 1
        task = asyncio.create_task(self._minding(kind))
        self.visits.add(task)
        task.add_done_callback(self.visits.discard)

    async def _minding(self, kind: Callable[[], Coroutine[None, None, None]]) -> None:
        with suppress(OSError, TimeoutError):
            await kind()

    async def staying(self) -> None:
        """One stays, and comes back whenever its stream ends."""
        topics = [*self._topics(20), "number:0", "html:1", "built:0"]
        cursor = ""
        while True:
            with suppress(OSError):
                async with self._open(self._request(topics, cursor, user="")) as client:
                    await client.is_lost.wait()
                    cursor = client.cursor
            await asyncio.sleep(_RETRY_S)

    async def ask(self, path: str) -> bytes:
        """The body of an answer of the server."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
            return (await reader.read()).partition(b"\r\n\r\n")[2]
        finally:
            writer.close()

    async def _leaving(self) -> None:
        async with self._open(self._request(self._topics())) as client:
            await self._stay(client)

    async def _breaking_off(self) -> None:
        async with self._open(self._request(self._topics())) as client:
            await self._stay(client)
            self._break_off(client)

    async def _stalling(self) -> None:
        """One reads no more; the server cuts it off when it has waited long enough."""
        async with self._open(self._request([*self._topics(), *(f"number:{4 * n}" for n in range(8))])) as client:
            await client.has_answer.wait()
            client.transport.pause_reading()
            await asyncio.sleep(_STALL_S)
            self._break_off(client)

    async def _coming_back(self) -> None:
        topics, cursor = self._topics(), ""
        for _ in range(3):
            async with self._open(self._request(topics, cursor)) as client:
                await self._stay(client, _STAY_S / 3)
                cursor = client.cursor
            await asyncio.sleep(_RETRY_S * self._random.random())

    async def _polling(self) -> None:
        topics = self._topics()
        async with self._open(self._request(topics, since="nowhere")) as client:
            for _ in range(3):
                await asyncio.wait_for(client.has_answer.wait(), _WITHIN_S)
                client.has_answer.clear()
                if client.is_lost.is_set():
                    return
                await asyncio.sleep(_RETRY_S)
                if client.transport.is_closing():
                    return
                found = re.search(rb'"cursor":"([^"]+)"', client.tail)
                client.transport.write(self._request(topics, since=found[1].decode() if found else "nowhere"))

    async def _refused(self) -> None:
        requests = [
            self._request(["unknown:1"]),
            self._request([]),
            self._request(["number:1"], user="nobody"),
            self._request(["number:1"], more="authorization: Bearer of.bad.news\r\n"),
            self._request(["number:1"], more="origin: https://foreign.example\r\n"),
            self._request(["number:1"], "no position at all"),
            b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            b"no request at all\r\n\r\n",
        ]
        async with self._open(self._random.choice(requests)) as client:
            await client.has_answer.wait()

    async def _half(self) -> None:
        async with self._open(self._request(self._topics())[: self._random.randrange(40)]) as client:
            await self._stay(client, 1.0)

    async def _stay(self, client: _Client, mean_s: float = _STAY_S) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._random.expovariate(1 / mean_s), _LONGEST_S)):
                await client.is_lost.wait()

    @staticmethod
    def _break_off(client: _Client) -> None:
        plug = client.transport.get_extra_info("socket")
        if plug is not None and not client.transport.is_closing():
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.transport.abort()

    @asynccontextmanager
    async def _open(self, request: bytes) -> AsyncGenerator[_Client]:
        plug = socket.socket()
        # Else the kernel takes for one who does not read.
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        plug.setblocking(False)  # noqa: FBT003 - as the library has it
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(plug, (self._host, self._port))
            _, client = await loop.create_connection(lambda: _Client(request, self.n_of), sock=plug)
        except BaseException:
            plug.close()
            raise
        try:
            yield client
        finally:
            client.transport.close()

    def _topics(self, n_most: int = 6) -> list[str]:
        room = room_now()
        return [
            self._random.choice(
                [
                    f"number:{self._random.randrange(N_NUMBERS)}",
                    f"number:{self._random.randrange(N_NUMBERS)}",
                    f"html:{self._random.randrange(N_NUMBERS)}",
                    f"broken:{self._random.randrange(N_NUMBERS)}",
                    f"built:{self._random.randrange(N_BUILT)}",
                    f"room:{room - self._random.randrange(N_ROOMS)}",
                ]
            )
            for _ in range(self._random.randint(1, n_most))
        ]

    def _request(
        self, topics: Sequence[str], cursor: str = "", *, since: str = "", user: str | None = None, more: str = ""
    ) -> bytes:
        pairs = [("topic", topic) for topic in topics]
        pairs += [("last_event_id", cursor)] if cursor else []
        pairs += [("since", since)] if since else []
        chance = self._random.random()
        if user is None:
            user = f"u{self._random.randrange(N_USERS)}" if chance < 0.7 else ""
        headers = f"x-user: {user}\r\n" if user else ""
        if not more and chance > 0.9 and topics:
            token = self._tokens.issue(*topics, user=user or "u1", subjects=("user:u1",))
            headers += f"authorization: Bearer {token}\r\norigin: https://elsewhere.example\r\n"
        if self._random.random() < 0.3 and not cursor:
            headers += "accept-encoding: gzip\r\n"
        query = urlencode(pairs)
        return f"GET /?{query} HTTP/1.1\r\nhost: a\r\nx-real-ip: {self._address()}\r\n{headers}{more}\r\n".encode()

    def _address(self) -> str:
        if self._random.random() < 0.5:
            return f"10.0.0.{self._random.randrange(12)}"
        # Of networks that are never seen again.
        return f"2001:db8:{self._random.randrange(65_536):x}:{self._random.randrange(65_536):x}::1"


async def _churned(url: str, seconds: float) -> list[State]:
    street = _Street(url)
    begun = time.monotonic()
    states: list[State] = []
    async with asyncio.TaskGroup() as group:
        staying = [group.create_task(street.staying()) for _ in range(_N_STAYING)]
        while time.monotonic() < begun + seconds or not states:
            await _visited(street, min(_ROUND_S, seconds))
            n_open = int(await street.ask("/streams"))
            states.append(await _state(street))
            _say(states[-1], begun, street.n_visits, n_open)
        for task in staying:
            task.cancel()
    print(f"  answers by status: {dict(sorted(street.n_of.items()))}")
    return states


async def _visited(street: _Street, seconds: float) -> None:
    """Send visitors, evenly, for so long."""
    begun = time.monotonic()
    n = 0
    while (now := time.monotonic()) < begun + seconds:
        while n < (now - begun) * _PER_S:
            street.send_one()
            n += 1
        await asyncio.sleep(1 / _PER_S)


async def _state(street: _Street) -> State:
    """What the server holds when all visitors have been gone for a moment."""
    for visit in [*street.visits]:
        visit.cancel()
    async with asyncio.timeout(_WITHIN_S):
        while True:
            if not street.visits and int(await street.ask("/streams")) <= _N_STAYING:
                break
            await asyncio.sleep(_LOOK_S)
    await asyncio.sleep(_REST_S)
    return msgspec.json.decode(await street.ask("/state"), type=State)


def _say(state: State, begun: float, n_visits: int, n_open: int) -> None:
    minutes = (state.at - begun) / 60
    memory = " ".join(
        f"{name} {n / _MIB:.2f} MiB," for name, n in (("RSS", state.rss), ("USS", state.uss), ("PSS", state.pss))
    )
    print(
        f"  {minutes:6.2f} min, {n_visits:,} visits, {n_open} streams, then {state.n_streams}: {memory} "
        f"{state.n_blocks:,} blocks, {state.n_objects:,} objects, {state.n_tasks} tasks, {state.n_files} files, "
        f"{state.cpu_s:.1f} s of CPU",
        flush=True,
    )


def _hold(report: Report, states: Sequence[State]) -> None:
    tenth = max(len(states) // 10, 1)
    early, late = states[tenth : 2 * tenth] or states[:1], states[-tenth:]
    report.raw["push_churn"] = [msgspec.to_builtins(state) for state in states]
    used = (states[-1].cpu_s - states[0].cpu_s) / max(states[-1].at - states[0].at, 1e-9)
    report.figure("CPU of the server", 100 * used, "% of a core")
    report.figure("memory (RSS) of the server", statistics.median(state.rss for state in late) / _MIB, "MiB")
    _print_growth("objects", [state.objects for state in early], [state.objects for state in late])
    _print_growth("collections", [state.sizes for state in early], [state.sizes for state in late])
    for name, figure_of in _FIGURES.items():
        before, after = (statistics.median(map(figure_of, some)) for some in (early, late))
        report.at_most(f"churn, growth of {name}", 100 * (after - before) / before, 5, "%")
    for name, n_of in _COUNTS.items():
        before, after = (statistics.median(map(n_of, some)) for some in (early, late))
        # Of those who stay, somebody may be about to come back.
        report.at_most(f"churn, more {name}", after - before, 2, name)


_FIGURES: dict[str, Callable[[State], float]] = {
    "RSS": lambda state: state.rss,
    "its own memory (USS)": lambda state: state.uss,
    "memory blocks of Python": lambda state: state.n_blocks,
    "objects": lambda state: state.n_objects,
}
_COUNTS: dict[str, Callable[[State], int]] = {
    "tasks": lambda state: state.n_tasks,
    "open files": lambda state: state.n_files,
}


def _print_growth(what: str, early: Sequence[dict[str, int]], late: Sequence[dict[str, int]]) -> None:
    names = {name for some in (*early, *late) for name in some}
    grown = {
        name: statistics.median(some.get(name, 0) for some in late)
        - statistics.median(some.get(name, 0) for some in early)
        for name in names
    }
    most = sorted(((n, name) for name, n in grown.items() if n > 0), reverse=True)[:_N_SHOWN]
    print(f"  {what} that grew: {', '.join(f'{name} by {n:g}' for n, name in most) or 'none'}")
