"""What runs in a peer's own environment: `python -m benchmarks.peers.child WORK PEER JSON`; the last line answers.

WORK is a module of `benchmarks` (`races.stale_set`, `rows.hits`) with `main(peer, **options)`; PEER a module of
`benchmarks.peers`. Neither may import what is in no environment but one: the standard library, and the peer's package.
"""

import importlib
import json
import sys


def main() -> None:
    """Do the work with the peer, and say what came out."""
    work, peer, options = sys.argv[1:4]
    module = importlib.import_module(f"benchmarks.{work}")
    answer = module.main(importlib.import_module(f"benchmarks.peers.{peer}"), **json.loads(options))
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
