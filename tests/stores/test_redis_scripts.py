"""How the steps in Lua are put together."""

import asyncio
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import pytest

from everfresh.model.dependency import Tag
from everfresh.protocol.scheduling import HEAD_START_S
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.scripts import library, script_of
from everfresh.testing.by_hand import ByHand, put_of
from tests.redis_servers import RedisServer, new_prefix, redis_server

STEPS = (
    *("load", "load_many", "begin", "commit", "fail", "give_up", "extend"),
    *("candidates", "apply", "register", "put", "delete"),
    *("take_due", "enqueue", "retry", "note", "distrust_begin", "distrust_scan", "distrust_rows"),
    *("read_feed", "explain", "scan", "coldest", "follow", "behind"),
    *("touch", "pace", "keep_offsets", "tell", "read_some", "quarantine", "read_ids", "read_after", "release"),
)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_a_script_and_a_function(step: str, shared_redis: RedisServer) -> None:
    """The server takes both, and the SHA is the one that it computes."""
    script = script_of(step)

    with shared_redis.client() as client:
        assert client.script_load(script.text) == script.sha
    assert script.function == f"{library().name}_{step}"
    assert f"offer('{step}'" in library().text


def test_the_library_is_taken_by_a_server(shared_redis: RedisServer) -> None:
    """Under a name that is made from what is in it, so that two versions do not meet in one."""
    with shared_redis.client() as client:
        told = client.execute_command("FUNCTION LOAD", "REPLACE", library().text)

    assert told == library().name.encode()
    assert re.fullmatch(r"everfresh_[0-9a-f]{16}", library().name)


def test_every_file_of_lua_is_in_the_library() -> None:
    """One that nothing needs is dead."""
    names = {path.name for path in (files("everfresh.stores.redis") / "lua").iterdir() if path.name.endswith(".lua")}

    assert names <= {place.partition(":")[0] for place in library().lines}


def test_constants_have_one_place() -> None:
    """Those that Python decides by are written into the scripts."""
    assert f'["HEAD_START_S"]={HEAD_START_S}' in library().text
    assert '["fresh"]={["touch"]="dirty"' in library().text


def test_comments_are_not_sent() -> None:
    """The server needs none."""
    assert not re.search(r"^\s*--", script_of("commit").text, re.MULTILINE)


@pytest.mark.parametrize("name", ["user_script", "user_function"])
def test_an_error_in_lua_names_the_line_in_its_file(name: str) -> None:
    """The server counts the lines of what was put together."""
    script = script_of("load")
    lines = script.lines if name == "user_script" else library().lines
    number = lines.index("building.lua:1")

    told = script.located(f"{name}:{number + 1}: attempt to index a nil value, on @{name}:99999")

    assert told == f"building.lua:1: attempt to index a nil value, on @{name}:99999"


def test_two_prefixes_are_two_stores(shared_redis: RedisServer) -> None:
    """On one server; and no key of a store stands outside its prefix and its slot."""
    one, other = (new_prefix() for _ in range(2))
    hands = [ByHand(RedisStore(f"{shared_redis.url}?prefix={prefix}")) for prefix in (one, other)]

    hands[0].build("k", 1, Tag("a"))

    assert hands[1].load("k").entry is None
    with shared_redis.client() as client:
        keys: Any = client.keys(f"*{one}*")
    assert keys
    assert all(key.startswith(f"{one}:{{s0}}:".encode()) for key in keys)
    for hand in hands:
        hand.store.close()


def test_without_the_driver_only_its_urls_fail() -> None:
    """The message says how to install it; nothing else imports it."""
    code = """
import sys
import everfresh
assert "redis" not in sys.modules
sys.modules["redis"] = None
try:
    everfresh.Cache("redis://localhost")
except everfresh.StoreUrlInvalid as error:
    print(error)
"""

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "pip install 'everfresh[redis]'" in told


@pytest.mark.parametrize("colour", ["tasks", "threads"])
async def test_the_library_is_loaded_once_however_many_ask_first(colour: str) -> None:
    """The server compiles it each time, and all others wait."""
    with redis_server() as server:
        store = RedisStore(server.url)
        puts = [put_of(f"k{number}", number) for number in range(100)]
        if colour == "tasks":
            await asyncio.gather(*map(store.carry_out_async, puts))
        else:
            with ThreadPoolExecutor(20) as pool:
                list(pool.map(store.carry_out, puts))
        with server.client() as client:
            stats = client.info("commandstats")
        store.close()

    # The first look at the server may load it too, at the same moment.
    assert stats["cmdstat_function|load"]["calls"] <= 2
