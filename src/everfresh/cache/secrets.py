"""Secrets in arguments: they tell calls apart, and do not stand in keys, which go to logs, metrics and browsers."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from everfresh.cache.canonical_arguments import argument_text

_DIGEST_BYTES = 16
_PERSON = b"everfresh-secret"


_STRUCK_OUT = "***"


def struck_out(text: str, secrets: Iterable[object]) -> str:
    """The text without the secrets, as far as they stand in it as they are."""
    # The longest first, as one may stand within another.
    for secret in sorted({str(secret) for secret in secrets} - {""}, key=len, reverse=True):
        text = text.replace(secret, _STRUCK_OUT)
    return text


def hidden(value: object) -> str:
    """What stands for the value in keys: a hash, equal in every process, from which nobody guesses a long secret.

    Raises:
        ArgumentNotSupported: the value has no canonical form.
    """
    text = argument_text(value).encode("utf-8", "surrogatepass")
    return f"secret-{blake2b(text, digest_size=_DIGEST_BYTES, person=_PERSON).hexdigest()}"
