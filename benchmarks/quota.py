"""A share of one CPU for a process, as if it stood on a small machine of its own: by a control group of Linux.

On one machine the nodes of a Cluster share what one server has to itself. Held to equal shares that leave CPU over,
each has as much as it would have elsewhere, whoever else runs. It takes the right to make control groups.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
# As short as may be, a share being at least a millisecond: who is held waits often and briefly, as on a slower machine.
_PERIOD_US = 10_000


def problem() -> str | None:
    """Why no process can be held here; None when it can."""
    try:
        with _group(None, 1.0):
            return None
    except OSError as error:
        return f"control groups cannot be made here ({error})"


@contextmanager
def held(pids: Iterable[int], share: float) -> Iterator[None]:
    """Hold each of these processes to a share of one CPU; freed at the end, or when it ends. Raises OSError."""
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_group(pid, share))
        yield


@contextmanager
def _group(pid: int | None, share: float) -> Iterator[None]:
    is_v1 = _V1.is_dir()
    root = _V1 if is_v1 else _V2
    group = root / f"everfresh-bench-{token_hex(4)}"
    group.mkdir()
    try:
        quota_us = int(_PERIOD_US * share)
        if is_v1:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        if pid is not None:
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        if pid is not None:
            with suppress(ProcessLookupError):
                (root / "cgroup.procs").write_text(str(pid))
        group.rmdir()
