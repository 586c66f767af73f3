"""Which run of the machine this is.

Commits do not wait for the disk (`synchronous=NORMAL`), so a power cut may take the last ones back, never half of one.
The file is whole, but older than what others were told. So it names the run of the machine in which it was written:
when that is another one, and nobody closed it at the end, it may have been taken back. Where a machine does not name
its runs, each commit waits for the disk instead.
"""

from __future__ import annotations

from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def boot_of_machine() -> str:
    """A name for this run of the machine; empty when it has none."""
    try:
        return _LINUX.read_text().strip()
    except OSError:
        return ""


def may_be_taken_back(*, stored: str, boot: str, is_clean: bool) -> bool:
    """Whether a file written in the run `stored` may have lost its last commits, seen from the run `boot`."""
    return bool(stored) and not is_clean and stored != boot
