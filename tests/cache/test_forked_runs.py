"""What a forked child knows of builds that run in its parent: nothing. They never end there."""

import os
import subprocess
import sys

import pytest

from tests.cache.processes import DEADLINE_S, ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

FORKED_WHILE_ONE_RUNS = """
import os, threading
from everfresh import Cache, dep

class Undone(Exception):
    pass

def is_kept(cache):
    "Whether a block that is undone, and in which nothing was built, leaves the entry alone."
    cache.blocking.put("key", 1, dep.Tag("t"))
    try:
        with cache.blocking.transaction():
            cache.blocking.invalidate(dep.Tag("t"))
            raise Undone
    except Undone:
        return cache.blocking.has("key")

parent = Cache()
is_begun, may_end = threading.Event(), threading.Event()

@parent.cached
def slow() -> int:
    is_begun.set()
    may_end.wait()
    return 1

@parent.cached
def forks() -> int:
    if os.fork() == 0:
        return 0
    os.wait()
    return 1

thread = threading.Thread(target=slow)
thread.start()
is_begun.wait()
if os.fork() == 0:
    print("child", is_kept(Cache()), flush=True)
    os._exit(0)
os.wait()
may_end.set()
thread.join()
print("parent", is_kept(parent), flush=True)
pid = os.getpid()
try:
    forks()
finally:
    if os.getpid() != pid:
        print("forked in a build", is_kept(Cache()), flush=True)
        os._exit(0)
"""


def test_builds_of_the_parent_do_not_count_in_the_child() -> None:
    """Else each block that is undone there tells its events, for as long as the child lives."""
    command = [sys.executable, "-c", FORKED_WHILE_ONE_RUNS]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True)

    assert run.stdout.splitlines() == ["child True", "parent True", "forked in a build True"]
