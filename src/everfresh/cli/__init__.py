"""The command `everfresh`."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, cast

_NEEDED = frozenset({"click", "rich"})


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    if sys.stdin is None:
        # Whoever started this has closed it.
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - as long as the process lives
    if sys.stdout is not None:
        # What the terminal has no letters for is escaped, as in errors.
        cast("TextIOWrapper[BinaryIO]", sys.stdout).reconfigure(errors="backslashreplace")
    try:
        # Its libraries are an extra: who lacks them is told which, before anything else.
        from everfresh.cli.commands import run  # noqa: PLC0415
        from everfresh.cli.logs import log_in_short  # noqa: PLC0415

        log_in_short()
        code = run(sys.argv[1:])
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(f"everfresh: the command needs {error.name!r}. Install it: pip install 'everfresh[cli]'")
    except KeyboardInterrupt:
        sys.exit("everfresh: stopped.")
    _give_up_output()
    sys.exit(code)


def _give_up_output() -> None:
    """What could not be written has been told of; Python would try once more at the end, and tell of it again."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
