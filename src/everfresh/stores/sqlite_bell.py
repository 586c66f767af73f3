"""The bell: a number in a file that all processes on one store share, changed after each commit.

To ask SQLite whether anybody wrote takes two locks of the file, about 3 µs; to read this number takes 0.3. Whoever
commits rings before the step is answered. So a reader that finds the number unchanged knows that nothing was answered
since it asked SQLite, and nobody was told yet of what is about to be answered.

Rules
- The number is read before SQLite is asked. A commit in between then changes it again, which costs one more question.
- It is drawn anew each time: two who counted up at once could write the same.
- A process that is killed between its commit and its ring has answered nobody. For its sake, and for programs that
  write to the store by themselves, SQLite is asked anyway every `ASK_EVERY_S`. Who cannot ring waits for that.
- Who may write the store must be able to ring: the bell gets the store's own owner and mode. It lies beside the file
  itself, where SQLite keeps its own, whatever links lead there.
- It is read and written, not mapped: a mapped file that somebody truncates kills whoever looks at it.
- Behind the number stands of which file it is, and how far that had come: the stamp. A store that lies beside a bell
  with another stamp was put there by somebody, and may be older than what was told of it: an older copy, a backup. It
  is written within the transaction that opens a store, or gives it another epoch; and after each step, if it is still
  of the same file and epoch. Two steps may write it in the wrong order: then it says less than could be said.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from struct import Struct

# Below what a person or a network notices, and 200 times what asking takes.
ASK_EVERY_S = 0.01
_N_BYTES = 8
# The hash of the epoch, the sequence, and the number of the file.
_STAMP = Struct(f"<{_N_BYTES}sQQ")


class Bell:
    """One process's hold of the bell beside a store.

    Raises:
        OSError: it can neither be opened nor made.
    """

    __slots__ = ("_handle", "_inode", "_path")

    def __init__(self, path: Path) -> None:
        self._path = bell_of(path)
        self._handle = _opened(self._path, path)
        self._inode = os.fstat(self._handle).st_ino

    def number(self) -> bytes:
        """The number; of a bell that somebody cut short less than that, which is never the same as another."""
        return os.pread(self._handle, _N_BYTES, 0)

    def stamp(self) -> bytes:
        """What stands behind the number; empty when nobody has written it yet."""
        return os.pread(self._handle, _STAMP.size, _N_BYTES)

    def write_stamp(self, stamp: bytes) -> None:
        """Write it, within a transaction of the store; where the disk refuses, the old one says less, and no wrong."""
        with suppress(OSError):
            os.pwrite(self._handle, stamp, _N_BYTES)

    def advance(self, inode: int, epoch: str, sequence: int) -> None:
        """Say how far the store has come, unless another file, or another life of it, has taken the bell over."""
        stamp = self.stamp()
        if len(stamp) != _STAMP.size or _STAMP.unpack(stamp)[::2] == (_hashed(epoch), inode):
            self.write_stamp(stamp_of(inode, epoch, sequence))

    def ring(self) -> None:
        """Have every reader ask SQLite again."""
        try:
            os.pwrite(self._handle, os.urandom(_N_BYTES), 0)
        except OSError:
            # The step is done and stays done. Before it is answered, everybody has asked by themselves.
            time.sleep(ASK_EVERY_S)

    def is_there(self) -> bool:
        """Whether the bell that others find is this one."""
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def __del__(self) -> None:
        # Not closed by hand: another thread may be reading, and the number of a closed handle is soon another file's.
        with suppress(AttributeError, OSError):
            os.close(self._handle)


def stamp_of(inode: int, epoch: str, sequence: int) -> bytes:
    """What says that the store in the file with this number had come so far."""
    return _STAMP.pack(_hashed(epoch), sequence, inode)


def is_older(stamp: bytes, inode: int, epoch: str, sequence: int) -> bool:
    """Whether a store that has come so far is not the one of the stamp, or was put back to before it."""
    if len(stamp) != _STAMP.size:
        return True
    of_sequence: int
    of_epoch, of_sequence, of_inode = _STAMP.unpack(stamp)
    return (of_epoch, of_inode) != (_hashed(epoch), inode) or of_sequence > sequence


def _hashed(epoch: str) -> bytes:
    return blake2b(epoch.encode(), digest_size=_N_BYTES).digest()


def bell_of(path: Path) -> Path:
    """Where the bell of a store's file lies."""
    real = path.resolve()
    return real.with_name(real.name + "-bell")


def _opened(bell: Path, path: Path) -> int:
    with suppress(FileNotFoundError):
        return os.open(bell, os.O_RDWR | os.O_CLOEXEC)
    handle = os.open(bell, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    like = path.stat()
    # As SQLite does with the files that it keeps beside this one. Only root may give a file away.
    with suppress(OSError):
        os.fchown(handle, like.st_uid, like.st_gid)
    with suppress(OSError):
        os.fchmod(handle, like.st_mode & 0o777)
    return handle
