"""A worker in a process of its own; refreshes the functions of `tests.cache.declared` until its input ends."""

import sys

from everfresh import Cache
from everfresh.refresh import Worker
from tests.cache.declared import declare

if __name__ == "__main__":
    with Cache(sys.argv[1]) as cache:
        declare(cache)
        with Worker(cache).in_thread():
            print("ready", flush=True)  # noqa: T201 - the test waits for it
            sys.stdin.read()
