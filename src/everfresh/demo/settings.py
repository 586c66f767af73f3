"""What a demo can be told."""

from dataclasses import dataclass

MAX_PORT = 65_535
MAX_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """How to run the demo; every field has a default.

    Raises:
        ValueError: a field is out of range; the message names it.
    """

    port: int = 8000
    """Where the page is served, on 127.0.0.1. 0 picks a free port."""
    upstream_delay: float = 1.5
    """Seconds that an answer of the tracker takes, give or take a third: 1.5 means 1 to 2 s."""
    autopilot: bool = True
    """Whether something changes by itself every `autopilot_every_s` seconds."""
    autopilot_every_s: float = 4.0
    store: str | None = None
    """The cache's URL. None: a SQLite file in a temporary folder, removed at the end."""
    quiet: bool = False
    """Print the address and errors only, no line per event."""
    deadline_s: float = 60.0
    """How long `run_once` may take in all before it gives up."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"port: {self.port} is not a port. Use 0 (a free one) to {MAX_PORT}.")
        for name, low in (("upstream_delay", 0.0), ("autopilot_every_s", 0.1), ("deadline_s", 1.0)):
            value = float(getattr(self, name))
            if not low <= value <= MAX_S:
                raise ValueError(f"{name}: {value:g} s is out of range. Use {low:g} to {MAX_S:g} s.")
