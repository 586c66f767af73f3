"""What tests need of the machine: without it they skip at home, and fail where nothing may be missing."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from everfresh.cli.listening import can_share

# It lies beside the repository and is no part of it: a clone alone has none.
_FEDORA_BUS = Path(__file__).parents[2] / "shared" / "data" / "fedora-bus.jsonl"


ONLY_WHERE_SHARED = pytest.mark.skipif(
    not can_share() and os.environ.get("CI") != "true", reason="the kernel does not share connections among sockets"
)
"""For tests of sockets that share an address; under CI=true they run, and fail where it cannot be."""


def lacking(problem: str) -> NoReturn:
    """Skip the test; fail it under CI=true, where nothing that is missing may pass for done."""
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)


def need(programs: Sequence[Path], *, for_: str, package: str) -> None:
    """Ask for programs, without which nobody has tried what they are needed for."""
    missing = [path for path in programs if not path.exists()]
    if missing:
        lacking(f"{missing[0]} is missing, so nobody has tried {for_}. Install it: apt-get install {package}")


def recorded_bus() -> Path:
    """284 messages of Fedora's bus, a line each; where they are not, the test skips, under CI=true too."""
    if not _FEDORA_BUS.exists():
        pytest.skip("the recorded messages are not there: shared/data/fedora-bus.jsonl beside the repository")
    return _FEDORA_BUS
