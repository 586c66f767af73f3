"""Packets and lines: what is asked at the same time travels together, and each reply reaches whoever asked."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import redis
import redis.asyncio
from redis import exceptions

from everfresh.stores.redis.packets import MAX_COMMANDS, Packets, command_of
from everfresh.stores.redis.reading import Lines
from everfresh.testing.waiting import soon
from tests.redis_servers import HOST, RedisServer

_N_ASKED = 5 * MAX_COMMANDS


def _echo(number: int) -> bytes:
    return command_of(("ECHO",), (str(number).encode(),))


_WRONG = command_of(("LPUSH", "text"), (b"x",))
_WHO = command_of(("CLIENT", "ID"), ())


@pytest.fixture
async def client(shared_redis: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    """The driver's client, for an event loop."""
    async with redis.asyncio.Redis(host=HOST, port=shared_redis.port, protocol=3) as client:
        await client.set("text", "x")
        yield client


async def test_each_reply_reaches_whoever_asked(client: "redis.asyncio.Redis") -> None:
    """However many ask at once, and whichever packet they come in."""
    packets = Packets(client, 2.0)

    replies = await asyncio.gather(*(packets.ask(_echo(number)) for number in range(_N_ASKED)))

    assert replies == [[str(number).encode()] for number in range(_N_ASKED)]


async def test_what_is_asked_at_once_needs_one_connection(client: "redis.asyncio.Redis") -> None:
    """They share packets, and packets go out one behind the other, however many wait."""
    packets = Packets(client, 2.0)

    numbers = {number for (number,) in await asyncio.gather(*(packets.ask(_WHO) for _ in range(_N_ASKED)))}

    assert len(numbers) == 1


async def test_an_error_reaches_whoever_asked_for_it(client: "redis.asyncio.Redis") -> None:
    """And nobody else in the packet."""
    packets = Packets(client, 2.0)
    commands = [_echo(0), _echo(1), _WRONG, _echo(3)]

    replies = await asyncio.gather(*map(packets.ask, commands), return_exceptions=True)

    assert isinstance(replies[2], exceptions.ResponseError)
    assert [replies[0], replies[1], replies[3]] == [[b"0"], [b"1"], [b"3"]]


async def test_where_a_connection_breaks_the_rest_of_its_packet_is_told(client: "redis.asyncio.Redis") -> None:
    """What was replied before that is a reply; of the rest nobody knows whether it was carried out."""
    packets = Packets(client, 2.0)
    commands = [_echo(0), _echo(1), command_of(("QUIT",), ()), _echo(3)]

    replies = await asyncio.gather(*map(packets.ask, commands), return_exceptions=True)

    assert replies[:3] == [[b"0"], [b"1"], [b"OK"]]
    assert isinstance(replies[3], exceptions.ConnectionError)
    assert await packets.ask(_echo(4)) == [b"4"]


async def test_who_is_cancelled_takes_nothing_from_the_others(client: "redis.asyncio.Redis") -> None:
    """The reply of one who has gone is read and let go."""
    packets = Packets(client, 2.0)
    asking = [asyncio.ensure_future(packets.ask(_echo(number))) for number in range(4)]
    await asyncio.sleep(0)
    asking[2].cancel()

    replies = await asyncio.gather(*asking, return_exceptions=True)

    assert [replies[0], replies[1], replies[3]] == [[b"0"], [b"1"], [b"3"]]
    assert isinstance(replies[2], asyncio.CancelledError)
    assert await packets.ask(_echo(4)) == [b"4"]


async def test_a_packet_without_a_reply_in_time_fails(client: "redis.asyncio.Redis") -> None:
    """As the driver's own timeout; the reply that comes later is nobody's."""
    packets = Packets(client, 0.05)

    with pytest.raises(exceptions.TimeoutError):
        await packets.ask(command_of(("DEBUG", "SLEEP"), (b"0.2",)))

    later = Packets(client, 2.0)
    assert await later.ask(_echo(1)) == [b"1"]


async def test_all_who_wait_for_a_silent_server_are_told(shared_redis: RedisServer) -> None:
    """One timer watches the oldest packet, and those behind it have no replies either."""
    async with redis.asyncio.Redis(host=HOST, port=shared_redis.port, protocol=3) as client:
        packets = Packets(client, 0.05)
        await packets.ask(_echo(0))
        slow = asyncio.ensure_future(packets.ask(command_of(("DEBUG", "SLEEP"), (b"0.2",))))
        behind = [asyncio.ensure_future(packets.ask(_echo(number))) for number in range(3)]

        replies = await asyncio.gather(slow, *behind, return_exceptions=True)

    assert [type(reply) for reply in replies] == [exceptions.TimeoutError] * 4


async def test_a_line_that_was_slow_once_is_watched_on(client: "redis.asyncio.Redis") -> None:
    """The timer of a packet that came back in time looks after the next ones."""
    packets = Packets(client, 0.1)
    for number in range(3):
        assert await packets.ask(command_of(("DEBUG", "SLEEP"), (b"0.04",))) == [b"OK"]
        assert await packets.ask(_echo(number)) == [str(number).encode()]

    with pytest.raises(exceptions.TimeoutError):
        await packets.ask(command_of(("DEBUG", "SLEEP"), (b"0.3",)))


async def test_a_line_that_was_cut_while_nobody_asked_is_not_used_again(
    client: "redis.asyncio.Redis", shared_redis: RedisServer
) -> None:
    """It is known that it was cut, so nothing is lost by that."""
    packets = Packets(client, 2.0)
    (number,) = await packets.ask(_WHO)
    with shared_redis.client() as other:
        other.execute_command("CLIENT", "KILL", "ID", number)
    await soon(lambda: not packets.has_line, what="that it was cut")

    assert await packets.ask(_echo(1)) == [b"1"]


async def test_a_server_that_is_no_master_any_more_is_left(
    client: "redis.asyncio.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sentinels were asked for the master, they are asked again: its connection would lead there for ever."""
    monkeypatch.setattr(client.connection_pool, "is_master", True, raising=False)
    packets = Packets(client, 2.0)
    (number,) = await packets.ask(_WHO)
    says_so = command_of(("EVAL",), (b"return redis.error_reply('READONLY You cannot write')", b"0"))

    with pytest.raises(exceptions.ConnectionError):
        await packets.ask(says_so)

    assert await packets.ask(_WHO) != [number]


async def test_one_who_sends_no_such_master_says_it_is_a_replica(client: "redis.asyncio.Redis") -> None:
    """Nobody else would be found."""
    packets = Packets(client, 2.0)
    (number,) = await packets.ask(_WHO)
    says_so = command_of(("EVAL",), (b"return redis.error_reply('READONLY You cannot write')", b"0"))

    with pytest.raises(exceptions.ReadOnlyError):
        await packets.ask(says_so)

    assert await packets.ask(_WHO) == [number]


async def test_lines_that_nobody_uses_are_closed(client: "redis.asyncio.Redis") -> None:
    """So that what was cut is not met once more by each of them; the next command opens one."""
    packets = Packets(client, 2.0)
    await packets.ask(_echo(0))

    await packets.forget_idle()

    assert await packets.ask(_echo(1)) == [b"1"]


def test_a_line_is_used_again(shared_redis: RedisServer) -> None:
    """One thread needs one, also after an error that the server replied."""
    with redis.Redis(HOST, shared_redis.port, protocol=3) as client:
        lines = Lines(client)
        client.set("text", "x")
        told = [lines.ask(_WHO) for _ in range(2)]
        with pytest.raises(exceptions.ResponseError):
            lines.ask(_WRONG)

        assert lines.ask(_WHO) == told[0] == told[1]


def test_a_line_that_was_cut_is_not_used_again(shared_redis: RedisServer) -> None:
    """It fails once, as what was asked may have been carried out; then another one is opened."""
    with redis.Redis(HOST, shared_redis.port, protocol=3) as client:
        lines = Lines(client)
        (number,) = lines.ask(_WHO)
        with shared_redis.client() as other:
            other.execute_command("CLIENT", "KILL", "ID", number)

        with pytest.raises(exceptions.ConnectionError):
            lines.ask(_echo(0))

        assert lines.ask(_echo(1)) == [b"1"]


def test_threads_have_lines_of_their_own(shared_redis: RedisServer) -> None:
    """So none reads another's reply."""
    wrong: list[int] = []
    with redis.Redis(HOST, shared_redis.port, protocol=3) as client:
        lines = Lines(client)

        def ask(first: int) -> None:
            wrong.extend(
                number for number in range(first, first + 200) if lines.ask(_echo(number)) != [str(number).encode()]
            )

        threads = [threading.Thread(target=ask, args=(1_000 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert not wrong


def test_a_command_is_written_as_the_server_reads_it() -> None:
    """Lengths in bytes, and any bytes at all in what is sent."""
    assert command_of(("SET", "kéy"), (b"\r\n\x00",)) == b"*3\r\n$3\r\nSET\r\n$4\r\nk\xc3\xa9y\r\n$3\r\n\r\n\x00\r\n"
