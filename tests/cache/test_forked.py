"""A process that was forked while a cache was open: it is told to make its own, at once, and the parent goes on.

The child has the parent's memory and none of its threads: nobody would renew a lease there, or tell who reads what, and
a lock that another thread held is held for ever.
"""

import os
import subprocess
import sys

import pytest

from tests.cache.processes import DEADLINE_S, ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

BEGINNING = """
import asyncio, os, sys, threading, time
from everfresh import Cache, dep

def forked(*actions):
    child = os.fork()
    if child == 0:
        for action in actions:
            try:
                print("got", action(), flush=True)
            except BaseException as error:
                print(type(error).__name__, error, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""

EACH_WAY = """
cache = Cache(sys.argv[1])

@cache.cached
def value(number: int) -> int:
    return number

@cache.cached
async def awaited(number: int) -> int:
    return number

@cache.cached_many
def many(ids: list[int]) -> dict[int, int]:
    return {id_: id_ for id_ in ids}

for _ in range(3):
    value(1), asyncio.run(awaited(1)), many([1])
forked(
    lambda: value(1),
    lambda: value(2),
    lambda: value.fresh(1),
    lambda: value.peek(1),
    lambda: value.entry(1),
    lambda: value.many([1]),
    lambda: asyncio.run(awaited(1)),
    lambda: many([1]),
    lambda: next(value.watch(1)),
    lambda: cache.blocking.get("key"),
    lambda: cache.blocking.put("key", 1),
    lambda: cache.blocking.invalidate(dep.Tag("t")),
    lambda: asyncio.run(cache.publish()),
)
print("parent", value(1), value(2), flush=True)
cache.close()
"""

LOCK_IS_HELD = """
is_held, may_go_on = threading.Event(), threading.Event()

def clock():
    if threading.current_thread().name == "holder":
        is_held.set()
        may_go_on.wait()
    return time.time()

cache = Cache(sys.argv[1], clock=clock)

@cache.cached
def value(number: int) -> int:
    return number

value(1)
holder = threading.Thread(target=lambda: value(2), name="holder")
holder.start()
is_held.wait()
forked(lambda: value(1), lambda: value(3), cache.close, lambda: value(1))
may_go_on.set()
holder.join()
print("parent", value(2), flush=True)
cache.close()
"""

A_LOCK_IS_HELD = """
cache = Cache(sys.argv[1])

@cache.cached
def value(number: int) -> int:
    return number

value(1)
for part in (cache.engine.keeper, cache.engine.attention, cache.background):
    # Another thread's, which cannot give it back in the child.
    holder = threading.Thread(target=part._lock.acquire)
    holder.start()
    holder.join()
forked(cache.close, lambda: asyncio.run(cache.aclose()))
print("parent", value(1), flush=True)
os._exit(0)
"""

ITS_OWN = """
cache = Cache(sys.argv[1])
cache.blocking.put("key", 1)

def own():
    with Cache(sys.argv[1]) as mine:
        mine.blocking.put("own", 2)
        return mine.blocking.get("own")

forked(own)
print("parent", cache.blocking.get("key"), flush=True)
cache.close()
"""


def said(program: str, url: str) -> list[str]:
    """The lines that the program prints."""
    command = [sys.executable, "-c", BEGINNING + program, url]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    return run.stdout.splitlines()


def test_whatever_the_child_asks_for_it_is_told_to_make_its_own_cache(url: str) -> None:
    """Also where the answer is at hand in the child's memory: nobody keeps that up to date any more."""
    *child, parent = said(EACH_WAY, url)

    assert len(child) == 13
    assert [line for line in child if "StoreForked" not in line or "Make the Cache after the fork" not in line] == []
    assert parent == "parent 1 2"


def test_the_child_does_not_hang_on_what_a_thread_of_the_parent_held(url: str) -> None:
    """The step of another thread was in the middle; in the child it stays there."""
    *child, parent = said(LOCK_IS_HELD, url)

    assert ["fork" in line for line in child[:2]] == [True, True]
    assert (len(child), child[2], parent) == (4, "got None", "parent 2")


def test_the_child_can_close_the_cache_whatever_was_held(url: str) -> None:
    """A thread of the parent renews leases, tells who reads what, or begins to refresh at any moment."""
    assert said(A_LOCK_IS_HELD, url) == ["got None", "got None", "parent 1"]


def test_a_cache_that_the_child_makes_is_as_good_as_any(url: str) -> None:
    """And the parent's is none the worse for it."""
    assert said(ITS_OWN, url) == ["got 2", "parent 1"]
