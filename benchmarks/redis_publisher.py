"""Another process that publishes one event after the other, and says when: `python -m benchmarks.redis_publisher`."""

import random
import sys
import time

from everfresh import Cache, Event

# So far apart that each is over before the next begins, and in no step with anybody's clock.
_PAUSE_S = 0.01


def main(url: str, n_events: int, n_entries: int) -> None:
    """Publish events that touch one entry each; print when each was about to be published."""
    dice = random.Random(n_events)  # noqa: S311 - no secret
    with Cache(url, near=0) as cache:
        # Opens the connection, and learns the shapes.
        cache.blocking.publish(Event.change("article", before={"id": -1}, after={"id": -1}))
        for number in range(n_events):
            time.sleep(_PAUSE_S * (0.5 + dice.random()))
            at = time.monotonic()
            id_ = number % n_entries
            cache.blocking.publish(Event.change("article", before={"id": id_}, after={"id": id_}))
            print(at)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
