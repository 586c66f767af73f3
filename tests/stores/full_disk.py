"""A process whose files may not grow: it fills its cache until the disk is full, then makes room.

usage: full_disk.py DATABASE
"""
# ruff: noqa: T201 - it talks to the test that started it

import resource
import sys
from itertools import count
from pathlib import Path

from everfresh import Cache
from everfresh.model.errors import StoreUnavailable
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import ByHand

MAX_FILE_BYTES = 300_000


def answer() -> int:
    """Take part in two caches."""
    return 42


store = SqliteStore(Path(sys.argv[1]))
hand = ByHand(store)
url = f"sqlite:///{sys.argv[1]}"
caches = (Cache(url), Cache(url, near=0))
near, far = (cache.cached(answer) for cache in caches)
near()
far()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, hard))
n_put = 0
try:
    for number in count():
        hand.put(f"k{number}", "x" * 10_000)
        n_put += 1
except StoreUnavailable as error:
    print(error)
print("kept:", all(hand.value(f"k{number}") == "x" * 10_000 for number in range(n_put)), hand.load(f"k{n_put}").entry)
print("near:", near(), far())
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print("again:", hand.put("more", 1), hand.value("more"))
for cache in caches:
    cache.close()
store.close()
