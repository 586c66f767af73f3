"""The command `everfresh`."""

from __future__ import annotations

import sys

_NEEDED = frozenset({"click", "rich"})


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    try:
        # Its libraries are an extra: who lacks them is told which, before anything else.
        from everfresh.cli.commands import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(f"everfresh: the command needs {error.name!r}. Install it: pip install 'everfresh[cli]'")
    sys.exit(run(sys.argv[1:]))
