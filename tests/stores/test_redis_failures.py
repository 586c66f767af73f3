"""What goes wrong between the store and its server: lost answers, servers that are gone, full, or not to be used."""

import asyncio
import gc
import logging
import os
import socketserver
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TypeVar

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, State
from everfresh.model.errors import StoreClosed, StoreForked, StoreUnavailable
from everfresh.protocol.requests import Load, ReadFeed, Request
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.servers import OTHER_RUN
from everfresh.stores.store import Store
from everfresh.stores.urls import open_store
from everfresh.testing.by_hand import ByHand, put_of
from everfresh.testing.waiting import until
from tests.redis_proxy import Proxy, proxy_to
from tests.redis_servers import HOST, RedisServer, new_prefix, redis_server

SECRET = "s3cret word"  # noqa: S105 - it opens nothing
A = Tag("a")
T = TypeVar("T")


@pytest.fixture
def proxy(shared_redis: RedisServer) -> Iterator[Proxy]:
    with proxy_to(shared_redis.port) as proxy:
        yield proxy


def proxied(proxy: Proxy) -> str:
    return f"redis://{HOST}:{proxy.port}/0?prefix={new_prefix()}"


@pytest.mark.parametrize("n_lost", [1, 2])
def test_a_step_whose_answer_was_lost_is_done_once(proxy: Proxy, n_lost: int) -> None:
    """It is sent again, and answered as it would have been at first."""
    hand = ByHand(RedisStore(proxied(proxy)))
    hand.build("k", 1, A)
    begin = hand.position()
    proxy.lose_answer_to(*[b"_delete"] * n_lost)

    n_deleted = hand.delete("k")

    assert proxy.n_lost == n_lost
    assert n_deleted == 1
    assert [record.key for record in hand.feed(begin)] == ["k"]
    hand.store.close()


async def test_a_step_whose_answer_was_lost_is_done_once_asynchronously(proxy: Proxy) -> None:
    """The same in an event loop."""
    store = RedisStore(proxied(proxy))
    assert await store.carry_out_async(put_of("k", 1, A))
    proxy.lose_answer_to(b"_put")

    assert await store.carry_out_async(put_of("k", 2, A))

    assert proxy.n_lost == 1
    entry = (await store.carry_out_async(Load(Key("k")))).entry
    assert entry is not None
    assert entry.version == 2
    store.close()


def test_its_listeners_are_told_of_a_step_whose_answer_was_lost(proxy: Proxy) -> None:
    """Once, with its records."""
    hand = ByHand(RedisStore(proxied(proxy)))
    told: list[list[Key]] = []
    hand.store.listen(lambda records: told.append([record.key for record in records]))
    hand.put("k", 1)
    proxy.lose_answer_to(b"_put")

    hand.put("other", 1)

    assert told == [["k"], ["other"]]
    hand.store.close()


def test_answers_that_are_lost_again_and_again_are_an_error(proxy: Proxy) -> None:
    """Three tries are enough to know that something is wrong."""
    hand = ByHand(RedisStore(proxied(proxy)))
    hand.put("k", 1)
    proxy.lose_answer_to(*[b"_put"] * 4)

    with pytest.raises(StoreUnavailable, match="no connection"):
        hand.put("k", 2)

    assert proxy.n_lost == 3
    hand.store.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_server_that_stands_still_is_given_up_in_time(is_async: bool) -> None:
    """Whoever reads is told, and goes on when the server does."""
    with redis_server() as server:
        store = RedisStore(server.url, retry_s=0.5)
        ByHand(store).build("k", 1)
        server.pause()

        with pytest.raises(StoreUnavailable, match="no answer in time"):
            _asked(store, ReadFeed(None), is_async=is_async)

        server.resume()
        _answers(store)
        assert ByHand(store).value("k") == 1
        store.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_server_that_is_killed_comes_back(is_async: bool) -> None:
    """Nobody has to open the store again. What it holds may lack the last writes, so nothing of it is trusted."""
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server:
        store = RedisStore(server.url)
        hand = ByHand(store)
        before = hand.build("k", 1, A)
        server.kill()

        with pytest.raises(StoreUnavailable, match="no connection"):
            _asked(store, Load(Key("k")), is_async=is_async)

        server.start()
        _answers(store)
        entry = _asked(store, Load(Key("k")), is_async=is_async).entry
        assert entry is not None
        assert (entry.value, entry.state, entry.reason) == (before.value, State.DIRTY, OTHER_RUN)
        assert entry.position.epoch != before.position.epoch
        until(lambda: [due.lease.key for due in hand.take()] == ["k"], what="the sweep, which queues it")
        assert set(hand.touch(A).touched) == {"k"}
        store.close()


def test_cut_connections_are_made_anew(redis_url: str, shared_redis: RedisServer) -> None:
    """Nobody notices."""
    hand = ByHand(RedisStore(redis_url))
    hand.put("k", 1)

    for _ in range(3):
        shared_redis.cut_connections()
        hand.put("k", 2)

    assert hand.value("k") == 2
    hand.store.close()


def test_a_store_may_be_opened_before_its_server(caplog: pytest.LogCaptureFixture) -> None:
    """A process may start while Redis is down; that is logged, and steps say so until it is there."""
    with redis_server() as server:
        server.stop()
        with caplog.at_level(logging.WARNING, logger="everfresh"):
            store = open_store(server.url)
        with pytest.raises(StoreUnavailable, match="no connection"):
            store.version()

        server.start()
        _answers(store)

        assert ByHand(store).build("k", 1).version == 1
        assert "store.unavailable" in caplog.text
        store.close()


def test_a_full_server_says_so() -> None:
    """What is there can still be read, touched and dropped."""
    with redis_server() as server:
        hand = ByHand(RedisStore(server.url))
        hand.build("k", 1, A)
        with server.client() as client:
            client.config_set("maxmemory", "1mb")

        with pytest.raises(StoreUnavailable, match="maxmemory"):
            hand.put("other", 1)

        assert hand.value("k") == 1
        assert set(hand.touch(A).touched) == {"k"}
        assert hand.delete("k") == 1
        hand.store.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_full_server_that_forgot_the_steps_goes_on(is_async: bool) -> None:
    """It takes no library, which is data; what may be done though it is full is done. It has the library later."""
    with redis_server() as server, server.client() as client:
        store = RedisStore(server.url)
        hand = ByHand(store)
        hand.build("k", 1, A)
        client.config_set("maxmemory", "1mb")
        client.execute_command("FUNCTION", "FLUSH")
        client.script_flush()

        assert _asked(store, ReadFeed(None), is_async=is_async).position == hand.position()
        assert set(hand.touch(A).touched) == {"k"}
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            _asked(store, put_of("other", 1), is_async=is_async)
        with closing(RedisStore(server.url)) as newcomer:
            assert ByHand(newcomer).value("k") == 1

        client.config_set("maxmemory", "0")
        assert _asked(store, put_of("other", 1), is_async=is_async)
        assert client.execute_command("FUNCTION", "LIST")
        store.close()


def test_a_replica_says_so() -> None:
    """It takes no writes; that is no bug of the asker."""
    with redis_server() as master, redis_server() as server:
        store = RedisStore(server.url)
        hand = ByHand(store)
        hand.put("k", 1)
        with server.client() as client:
            client.execute_command("REPLICAOF", HOST, master.port)

            with pytest.raises(StoreUnavailable, match="replica"):
                hand.put("k", 2)
        store.close()


def test_no_password_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a right one nor a wrong one."""
    with redis_server(password=SECRET.replace(" ", "_")) as server:
        wrong = f"redis://:{SECRET.replace(' ', '%20')}@{HOST}:{server.port}"

        with pytest.raises(StoreUnavailable, match="user or the password") as caught:
            RedisStore(wrong).version()

        ByHand(RedisStore(server.url)).put("k", 1)
        server.stop()
        with pytest.raises(StoreUnavailable) as gone:
            RedisStore(server.url).version()
    assert "s3cret" not in f"{caught.value} {gone.value} {caplog.text}"


def test_a_policy_that_evicts_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Redis would drop parts of entries, and of the index."""
    with redis_server({"maxmemory-policy": "allkeys-lru"}) as server, caplog.at_level(logging.WARNING):
        RedisStore(server.url).close()

    assert "store.evicts" in caplog.text
    assert "noeviction" in caplog.text


def test_without_the_right_to_load_libraries_steps_are_scripts() -> None:
    """Slower, and otherwise the same."""
    with redis_server() as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-function", "-fcall")
        url = f"redis://app:pw@{HOST}:{server.port}"
        hand = ByHand(RedisStore(url))

        hand.build("k", 1, A)

        assert hand.value("k") == 1
        assert _asked(hand.store, Load(Key("k")), is_async=True).entry == hand.entry("k")
        with server.client() as client:
            assert not client.execute_command("FUNCTION", "LIST")
        hand.store.close()


def test_a_server_that_forgot_the_steps_is_told_again(redis_url: str) -> None:
    """A new server, or somebody who cleared away functions and scripts."""
    with redis_server() as server, server.client() as client:
        hand = ByHand(RedisStore(server.url))
        hand.put("k", 1)

        client.execute_command("FUNCTION", "FLUSH")

        assert hand.value("k") == 1
        hand.store.close()


def test_a_closed_store_stays_closed(redis_url: str) -> None:
    """In both colours; closing once more does nothing."""
    store = RedisStore(redis_url)
    store.close()
    store.close()

    for is_async in (False, True):
        with pytest.raises(StoreClosed):
            _asked(store, ReadFeed(None), is_async=is_async)


def test_each_event_loop_has_its_own_connections(redis_url: str) -> None:
    """One loop after the other, many steps at once; each loop's connections are closed when it ends."""
    store = RedisStore(redis_url)

    async def put_many() -> None:
        await asyncio.gather(*(store.carry_out_async(put_of(f"k{number}", 1)) for number in range(200)))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            asyncio.run(put_many())
            gc.collect()

    assert store.carry_out(ReadFeed(None)).position.sequence == 200
    store.close()


async def test_a_store_may_be_closed_in_its_loop(redis_url: str) -> None:
    """From the loop's own thread and from another."""
    for close in (RedisStore.close, lambda store: asyncio.to_thread(store.close)):
        store = RedisStore(redis_url)
        await store.carry_out_async(ReadFeed(None))

        closing = close(store)
        if closing is not None:
            await closing

        with pytest.raises(StoreClosed):
            await store.carry_out_async(ReadFeed(None))


def test_a_cancelled_step_leaves_its_connection_to_nobody(redis_url: str) -> None:
    """Else the next step would be given the answer to it."""
    store = RedisStore(redis_url)
    hand = ByHand(store)
    hand.build("k", 1)

    async def cancel_some() -> None:
        for _ in range(20):
            step = asyncio.ensure_future(store.carry_out_async(put_of("other", 1)))
            await asyncio.sleep(0)
            step.cancel()
            await asyncio.wait([step])
            entry = (await store.carry_out_async(Load(Key("k")))).entry
            assert entry is not None
            assert entry.key == "k"

    asyncio.run(cancel_some())
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_told_to_open_its_own(redis_url: str) -> None:
    """Its parent's connections would give each of them the other's answers."""
    store = RedisStore(redis_url)
    hand = ByHand(store)
    hand.put("k", 1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            store.version()
        except StoreForked as error:
            os.write(write, str(error).encode())
        finally:
            store.close()
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)

    with os.fdopen(read) as told:
        assert "Make the Cache after the fork" in told.read()
    assert hand.value("k") == 1
    store.close()


def test_an_old_server_is_refused() -> None:
    """It lacks what the steps need."""
    with old_server() as port, pytest.raises(StoreUnavailable, match=r"Redis 6\.2\.14, and 7\.0 is the oldest"):
        RedisStore(f"redis://{HOST}:{port}")


@contextmanager
def old_server() -> Iterator[int]:
    """Something that talks like a server of long ago, as far as it is asked; its port."""

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                self.wfile.write(answers.get(words[0].upper(), b"+OK\r\n"))

    told = b"redis_version:6.2.14\r\n"
    answers = {b"HELLO": b"%1\r\n+proto\r\n:3\r\n", b"INFO": b"$%d\r\n%s\r\n" % (len(told), told)}
    with socketserver.ThreadingTCPServer((HOST, 0), Talk) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def _answers(store: Store) -> None:
    """Wait until the store asks its server again, and is answered."""

    def is_answered() -> bool:
        with suppress(StoreUnavailable):
            store.version()
            return True
        return False

    until(is_answered, what="an answer")


def _asked(store: Store, request: Request[T], *, is_async: bool) -> T:
    if is_async:
        return asyncio.run(store.carry_out_async(request))
    return store.carry_out(request)
