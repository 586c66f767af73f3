"""Having a worker look at its queue, when a test has moved the clock: a worker waits by the real one."""

from everfresh import dep
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, is_fresh

_TAG = dep.Tag("ring")


class Bell:
    """An entry of its own, which is touched so that the worker looks; whatever else is due is taken with it."""

    def __init__(self, colour: Colour) -> None:
        self._cache = colour.cache

        @colour.cached(depends_on=[_TAG])
        async def bell() -> int:
            return 1

        self._bell = bell

    async def hang(self) -> None:
        """Make the entry, before the worker comes."""
        await done(self._bell())

    async def ring(self) -> None:
        """Come back when the worker has looked."""
        await self._cache.invalidate(_TAG)
        await soon(lambda: is_fresh(self._bell), what="the worker's look at its queue")
