"""Notifying: telling a service manager how it stands, as `sd_notify(3)` describes it; without one nothing is told."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


def notify(state: str) -> None:
    """Tell the manager that started this process; one that does not listen is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, suppress(OSError):
        told.settimeout(0)  # never blocks
        # A name that begins with @ is none in the file system.
        told.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        told.send(state.encode())


def watchdog_s() -> float | None:
    """Within how many seconds the manager wants to hear that this process is alive; None when it does not care."""
    for_whom = os.environ.get("WATCHDOG_PID", "")
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0 or (for_whom and for_whom != str(os.getpid())):
        return None
    return int(text) / 1_000_000
