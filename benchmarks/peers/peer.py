"""Peer: one column of the tables. Fairness is written down here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A library, how it is used of all the ways it can be used in, and what nobody was promised."""

    name: str
    """As the tables say it: the library, and its store where it has several."""
    module: str
    """Its adapter, in `benchmarks.peers`."""
    environment: str
    """The list of `benchmarks/peers/environments` that it is installed from; empty for the project's own."""
    package: str
    """What its version is asked of."""
    options: str
    """What was chosen of what it offers, of all that the documentation recommends for freshness."""
    lacks: str
    """What it does not promise, so that a bad figure there is no fault of it."""
    store: str = "memory"
    """Where the values are: memory (of one process), files, redis."""
    invalidates: str = ""
    """By what it drops values before their time: key, tag, event; empty when by nothing but time."""
    async_module: str = ""
    """Its adapter in an event loop, where it has both colours; `module` is then the one for threads."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Its adapters."""
        return tuple(filter(None, (self.module, self.async_module)))
