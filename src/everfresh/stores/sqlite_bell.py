"""The bell: a number in memory that all processes on one file share, changed after each commit.

To ask SQLite whether anybody wrote takes two locks of the file, about 3 µs; to look at this number takes 0.1. Whoever
commits rings before the step is answered. So a reader that finds the number unchanged knows that nothing was answered
since it asked SQLite, and nobody was told yet of what is about to be answered.

Rules
- The number is read before SQLite is asked. A commit in between then changes it again, which costs one more question.
- It is drawn anew each time: two who counted up at once could write the same.
- A process that is killed between its commit and its ring has answered nobody. For its sake, and for programs that
  write to the file by themselves, SQLite is asked anyway every `ASK_EVERY_S`.
- Who may write the file must be able to ring: the bell gets the file's own owner and mode.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

# Below what a person or a network notices, and 200 times what asking takes.
ASK_EVERY_S = 0.01
_N_BYTES = 8


class Bell:
    """One process's view of the bell beside a file.

    Raises:
        OSError: it can neither be opened nor made.
    """

    def __init__(self, path: Path) -> None:
        self._path = bell_of(path)
        handle = _opened(self._path, path)
        try:
            if os.fstat(handle).st_size < _N_BYTES:
                # A hole reads as zero; whoever else does the same does no harm.
                os.ftruncate(handle, _N_BYTES)
            self._inode = os.fstat(handle).st_ino
            # Freed with the view: whoever looks at it just then needs no lock.
            self.numbers = memoryview(mmap.mmap(handle, _N_BYTES)).cast("Q")
            """The number, as the only element; read at each hit, so without a method in between."""
        finally:
            os.close(handle)

    def ring(self) -> None:
        """Have every reader ask SQLite again."""
        self.numbers[0] = int.from_bytes(os.urandom(_N_BYTES))

    def is_there(self) -> bool:
        """Whether the bell that others find is this one."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False


def bell_of(path: Path) -> Path:
    """Where the bell of a store's file lies."""
    return path.with_name(path.name + "-bell")


def _opened(bell: Path, path: Path) -> int:
    try:
        return os.open(bell, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        handle = os.open(bell, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    like = path.stat()
    # As SQLite does with the files that it keeps beside this one. Only root may give a file away.
    with suppress(OSError):
        os.fchown(handle, like.st_uid, like.st_gid)
    with suppress(OSError):
        os.fchmod(handle, like.st_mode & 0o777)
    return handle
