"""Secrets in arguments: they tell calls apart, and stand neither in keys nor in what is told of errors.

Keys and errors go to logs, metrics, browsers and whoever explains an entry. What an error says of a secret cannot be
found in it by looking: clients quote, shorten and encode what they were given. So of an error that comes from a
function with secrets its type is told and nothing else, also by the functions that called that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import TypeVar, cast

from everfresh.cache.canonical_arguments import argument_text
from everfresh.protocol.reading import reason_of

E = TypeVar("E", bound=Exception)

_DIGEST_BYTES = 16
_PERSON = b"everfresh-secret"
# On the error itself, so that it is known wherever it is caught, wrapped or cached.
_MARK = "everfresh_holds_secret"


def hidden(value: object) -> str:
    """What stands for the value in keys: a hash, equal in every process, from which nobody guesses a long secret.

    Raises:
        ArgumentNotSupported: the value has no canonical form.
    """
    text = argument_text(value).encode("utf-8", "surrogatepass")
    return f"secret-{blake2b(text, digest_size=_DIGEST_BYTES, person=_PERSON).hexdigest()}"


def kept_secret(error: E) -> E:
    """The error, known from now on as one whose text may hold a secret."""
    vars(error)[_MARK] = True
    return error


def told_of(error: Exception) -> str:
    """One line about the error for people; no more than its type when it may hold a secret, or one that led to it."""
    return type(error).__name__ if holds_secret(error) else reason_of(error)


def holds_secret(error: BaseException) -> bool:
    """Whether the text of the error, or of one that led to it, may hold a secret."""
    return any(_MARK in vars(one) for one in _with_causes(error))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, those that it was raised from or that it holds, and so on."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", one).exceptions
