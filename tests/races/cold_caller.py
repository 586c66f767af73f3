"""A process that calls a cached function five times at once, together with others.

usage: cold_caller.py DATABASE LOG N_CALLERS
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from everfresh import Cache
from everfresh.testing.waiting import until

database, log_name, n_callers = sys.argv[1:]
log = Path(log_name)
N_CALLS = 5


def say(word: str) -> None:
    """Append a line; short ones are written whole."""
    with log.open("a") as file:
        file.write(f"{word}\n")


with Cache(f"sqlite:///{database}") as cache:

    @cache.cached(key="answer")
    def answer() -> int:
        """The value, once every caller of every process has come."""
        say("built")
        until(lambda: log.read_text().count("came") == int(n_callers), what="all callers")
        return 42

    def call(_: int) -> int:
        """One caller."""
        say("came")
        return answer()

    with ThreadPoolExecutor(N_CALLS) as pool:
        for value in pool.map(call, range(N_CALLS)):
            say(f"got:{value}")
