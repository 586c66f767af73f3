"""A process that reads, changes the truth, publishes and refreshes on one SQLite file until it is killed.

usage: killed_process.py FOLDER NUMBER

If it was killed between writing the truth and telling of it, it publishes the event again, as a source does whose
message nobody has acknowledged.
"""

import contextlib
import random
import sys
from datetime import timedelta
from pathlib import Path

from everfresh import Cache
from everfresh.model.errors import StoreUnavailable, WaitTimeout
from everfresh.refresh import Worker
from tests.stores.newsroom import N_ARTICLES, N_PROCESSES, Newsroom


def live(folder: Path, index: int) -> None:
    """Do one thing after the other; half of the processes refresh as well."""
    cache = Cache(f"sqlite:///{folder / 'cache.db'}", lease=timedelta(seconds=1), near=0 if index % 4 == 3 else 100)
    newsroom = Newsroom(cache, folder)
    mine = range(index, N_ARTICLES, N_PROCESSES)
    newsroom.tell_the_rest(mine)
    chance = random.Random()  # noqa: S311 - it chooses what to do next
    with Worker(cache).in_thread() if index % 2 else contextlib.nullcontext():
        while True:
            with contextlib.suppress(WaitTimeout, StoreUnavailable):
                if chance.random() < 0.3:
                    number = chance.choice(mine)
                    newsroom.write("truth", number, newsroom.number_in("truth", number) + 1)
                    newsroom.tell(number)
                    newsroom.write("changes", index, newsroom.number_in("changes", index) + 1)
                newsroom.check(chance.randrange(N_ARTICLES))
                newsroom.write("checks", index, newsroom.number_in("checks", index) + 1)


if __name__ == "__main__":
    live(Path(sys.argv[1]), int(sys.argv[2]))
