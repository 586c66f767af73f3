"""Running work with a peer: in a fresh process of the peer's own environment, which answers with JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer

ROOT = Path(__file__).parents[2]


class PeerFailed(Exception):
    """The child ended with an error, or took too long; the message has the end of what it said."""


def python_of(peer: Peer) -> Path:
    """The interpreter that has the peer."""
    return ROOT / ".peers" / peer.environment / "bin" / "python" if peer.environment else Path(sys.executable)


def version_of(peer: Peer) -> str:
    """The version that is installed; what has no package comes with Python."""
    if not peer.package:
        return "Python's"
    program = f"from importlib.metadata import version; print(version({peer.package!r}))"
    done = subprocess.run(  # noqa: S603 - of the peer's environment
        [python_of(peer), "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def run(work: str, peer: Peer, *, module: str = "", timeout_s: float = 300.0, **options: Any) -> Any:
    """What `benchmarks.WORK.main` answers for the peer, or for another of its modules.

    Raises:
        PeerFailed: it ended with an error, or took longer.
    """
    command = [str(python_of(peer)), "-m", "benchmarks.peers.child", work, module or peer.module, json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - of the peer's environment
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{work} with {peer.name} took over {timeout_s:g} s") from error
    if done.returncode:
        raise PeerFailed(f"{work} with {peer.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
