"""Options that several sources have."""

from __future__ import annotations

import ssl
from collections.abc import Collection

from everfresh.model.errors import InvalidOption


def texts(given: Collection[str] | None, *, option: str) -> tuple[str, ...]:
    """Several texts, none for None.

    Raises:
        InvalidOption: it is one text, whose letters would be taken for them.
    """
    if isinstance(given, str):
        raise InvalidOption(f"{option}: {given!r} is one text. Write ({given!r},), with the comma.")
    return tuple(given or ())


def tls_context(cafile: str | None, certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    """TLS with these files; without `cafile`, the authorities that the machine trusts.

    Raises:
        InvalidOption: a file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
        if certfile:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        raise InvalidOption(f"cafile, certfile, keyfile: {error}.") from error
    return context
