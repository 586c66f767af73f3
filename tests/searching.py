"""How long tests search for what breaks a promise: for a moment, and with `make searches` ten times as long."""

import os

_TIMES = float(os.environ.get("EVERFRESH_SEARCHES", "1"))


def n_searched(usual: int) -> int:
    """How many examples are tried."""
    return round(usual * _TIMES)
