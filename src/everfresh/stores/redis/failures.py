"""What the driver reports, as ours; and which of it is worth another try.

Rules
- Whatever keeps a healthy script from running is StoreUnavailable: the connection, the server's state, its memory, the
  rights of the user. An error inside a script is a bug of ours and stays what it is.
- A step that was sent and not answered may have been carried out. It is sent again with the same slot and serial, so
  that the server answers it a second time and does nothing.
"""

from __future__ import annotations

import time

from redis import exceptions

from everfresh.model.errors import StoreUnavailable
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.deadlines import LATE
from everfresh.stores.redis.identity import AnotherRun
from everfresh.stores.redis.scripts import Script

DRIVER_ERRORS = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
MAX_TRIES = 3
# Before the second and the third try; a server that restarts needs longer than this, a cut connection less.
_PAUSES_S = (0.02, 0.2)

_RIGHTS = "Look at the user and the password in the store URL, and at the rights of that user"
# The first word of the server's answer, and what to do. These steps were not carried out.
_SAYS = {
    "OOM": "it has reached its maxmemory. Raise that, or bound the cache by max_bytes below it",
    LATE: "it was reached too late: it stood still, or the network did. Ask again",
    "READONLY": "it is a replica, which takes no writes. Name the master, or use 'redis+sentinel:'",
    "LOADING": "it is still loading its data. Ask again",
    "MASTERDOWN": "it is a replica that has lost its master. Ask again",
    "CLUSTERDOWN": "the Cluster does not serve this slot now. Ask again",
    "TRYAGAIN": "the Cluster is moving this slot. Ask again",
    "MISCONF": "it cannot save to its disk and takes no writes. Look at its log and its disk",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write asks for",
    "BUSY": "a script of somebody holds it up. Look which one",
    "UNKILLABLE": "a script of somebody holds it up. Look which one",
    "NOAUTH": f"it asks for a password. {_RIGHTS}",
    "WRONGPASS": f"it does not know the user or the password. {_RIGHTS}",
    "NOPERM": f"the user may not do it. {_RIGHTS}",
}
# The driver makes classes of some first words, and takes them off the text.
_WORD_OF: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.AuthenticationError, "WRONGPASS"),
    (exceptions.AuthorizationError, "NOAUTH"),
)
# Over in a moment, maybe, and on another connection, maybe, by another server.
_PASSING = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"})

# Whatever is asked for.
_IS_DOWN = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN"})

_CERTIFICATE = "Name the file of who signed its certificate: rediss://...?ssl_ca_certs=/path/ca.pem."


def described(address: Address, error: Exception, script: Script | None = None) -> Exception:
    """The error in our words; a script's own error with the places in its files."""
    word = _word_of(error)
    if word in _SAYS:
        return StoreUnavailable(f"{address}: {_SAYS[word]}. Redis says: {_said(error)}.")
    if isinstance(error, exceptions.TimeoutError):
        return StoreUnavailable(f"{address}: no answer in time. Is it overloaded, or the network cut? Ask again.")
    if isinstance(error, exceptions.ConnectionError | OSError | exceptions.RedisClusterException):
        hint = _CERTIFICATE if "CERTIFICATE_VERIFY_FAILED" in str(error) else "Is Redis running there?"
        return StoreUnavailable(f"{address}: no connection. {hint} The driver says: {_said(error)}.")
    if script is not None:
        return type(error)(f"{script.name}: {script.located(str(error))}")
    return error


def is_function_missing(error: exceptions.ResponseError) -> bool:
    """Whether the server does not have the library."""
    return str(error) == "Function not found"


def is_forbidden(error: exceptions.ResponseError) -> bool:
    """Whether this user, or this server, has no libraries at all; steps are sent as scripts then."""
    return "permissions to run the" in str(error) or str(error).startswith("unknown command")


def _said(error: Exception) -> str:
    return str(error).rstrip(".")


class Tries:
    """The tries of one step, at most three within `retry_s` seconds."""

    def __init__(self, retry_s: float) -> None:
        self.ends_at = time.monotonic() + retry_s
        """No try begins later, by the monotonic clock."""
        self._n_failed = 0

    @property
    def is_first(self) -> bool:
        """Whether none has failed yet."""
        return not self._n_failed

    def pause_after(self, error: Exception) -> float | None:
        """How many seconds to wait before the next try; None when there is none."""
        if isinstance(error, AnotherRun) and time.monotonic() < self.ends_at:
            # Nothing was sent to it yet, and it is there.
            return 0.0
        self._n_failed += 1
        if _word_of(error) == LATE:
            # It answers, and nothing was done. By now it is known what time it has.
            return 0.0 if self._n_failed < MAX_TRIES else None
        if self._n_failed >= MAX_TRIES or not _is_passing(error):
            return None
        pause_s = _PAUSES_S[self._n_failed - 1]
        return pause_s if time.monotonic() + pause_s < self.ends_at else None


def is_out_of_order(error: Exception) -> bool:
    """Whether nobody can be served just now, whoever asks, and for whatever."""
    return _word_of(error) in _IS_DOWN or is_unanswered(error)


def is_unanswered(error: Exception) -> bool:
    """Whether nobody answered: no connection, or silence."""
    return _word_of(error) not in _SAYS and isinstance(
        error, exceptions.ConnectionError | exceptions.TimeoutError | exceptions.RedisClusterException | OSError
    )


def _is_passing(error: Exception) -> bool:
    word = _word_of(error)
    if word in _SAYS:
        return word in _PASSING
    return isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError)


def _word_of(error: Exception) -> str:
    for kind, word in _WORD_OF:
        if isinstance(error, kind):
            return word
    return str(error).partition(" ")[0] if isinstance(error, exceptions.ResponseError) else ""
