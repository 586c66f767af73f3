"""The other process of a scenario: it opens the peer, and answers requests line by line until nobody asks."""

import importlib
import json
import sys
from types import ModuleType

from benchmarks.races.scenario import opened


def main(peer: ModuleType, *, scenario: str, place: dict[str, str]) -> None:
    """Answer until standard input ends."""
    # Whatever a library prints shall not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    with opened(peer, place) as caller:
        answer = importlib.import_module(f"benchmarks.races.{scenario}").beside(caller)
        print(json.dumps("ready"), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
