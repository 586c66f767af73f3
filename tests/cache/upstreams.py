"""A fact outside the cache, which tests change, break, and announce."""

from everfresh import Cache, Position, dep


class Broken(Exception):
    """The upstream does not answer."""


class Upstream:
    """One number that cached functions read, and how often it was read."""

    def __init__(self, cache: Cache, value: int = 1) -> None:
        self.value = value
        self.is_broken = False
        self.n_read = 0
        self.tag = dep.Tag("upstream")
        self._cache = cache

    def read(self) -> int:
        """What a cached function does."""
        self.n_read += 1
        if self.is_broken:
            raise Broken("the upstream is down")
        return self.value

    async def change(self, value: int) -> Position:
        """Another value, and everybody is told."""
        self.value = value
        return await self.announce()

    async def announce(self) -> Position:
        """Everybody is told that something may have changed."""
        return await self._cache.invalidate(self.tag)

    async def break_down(self) -> Position:
        """From now on it fails; everybody is told that something may have changed."""
        self.is_broken = True
        return await self.announce()
