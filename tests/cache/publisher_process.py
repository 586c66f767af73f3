"""A publisher in a process of its own: invalidates each tag that its input names, and says when that is done."""

import sys

from everfresh import Cache, dep

if __name__ == "__main__":
    with Cache(sys.argv[1]) as cache:
        print("ready", flush=True)  # noqa: T201 - the test waits for it
        for line in sys.stdin:
            cache.blocking.invalidate(dep.Tag(line.strip()))
            print("published", flush=True)  # noqa: T201 - as above
