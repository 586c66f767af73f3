"""A worker in a process of its own, whose build says that it began and then stands still until it is killed.

Arguments: the store's url, and the file that each run of the function adds a line to.
"""

import sys
from pathlib import Path

from everfresh import Cache
from everfresh.refresh import Worker
from tests.conformance.counted_page import LEASE, declare

if __name__ == "__main__":
    with Cache(sys.argv[1], lease=LEASE) as cache:
        declare(cache, Path(sys.argv[2]), stands_still=True)
        with Worker(cache).in_thread():
            sys.stdin.read()
