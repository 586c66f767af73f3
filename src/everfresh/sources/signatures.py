"""Who sent this: signatures of webhooks, checked on the raw bytes before anything of them is read. Pure.

Every comparison takes as long whatever stands in it, every key is tried each time, and a header that makes no sense is
a signature that does not fit. Give the new key beside the old one while a sender changes over.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Protocol

from everfresh.model.clock import seconds_of
from everfresh.model.errors import InvalidOption

Headers = Mapping[str, str]

# The bounds of Standard Webhooks for its secrets; it recommends these minutes too.
_MIN_SECRET_BYTES = 24
_TOLERANCE = timedelta(minutes=5)
# Below this a secret can be guessed from one signed request.
_MIN_TEXT = 16
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
# More signatures than anybody rotates keys.
_MAX_SIGNATURES = 16


class Unverified(Exception):
    """Nobody who has a key sent this. `at` names the header that is missing or does not fit."""

    def __init__(self, at: str, problem: str) -> None:
        super().__init__(f"{at}: {problem}")
        self.at = at


class Verifier(Protocol):
    """Says whether somebody who has a key sent a request."""

    @property
    def scheme(self) -> str:
        """What a 401 asks for: one word, for `www-authenticate`."""
        ...

    @property
    def header_names(self) -> tuple[str, ...]:
        """The headers that it needs, in lower case."""
        ...

    def verify(self, headers: Headers, body: bytes, *, now: float) -> None:
        """Accept the request; `headers` has lower-case names, `body` is what was sent, `now` seconds since 1970.

        Raises:
            Unverified: a header is missing or malformed, no key fits, or it was signed at another time.
        """
        ...


class StandardWebhooks:
    """Standard Webhooks 1.0 with `v1` signatures (HMAC-SHA256) by any of the secrets, each `whsec_` and base64.

    What was signed longer than `tolerance` ago, or is of so much later, is refused; within it, a request that is sent
    again is accepted again, which costs a rebuild and no more. `v1a` signatures (Ed25519) are not checked.

    Raises:
        InvalidOption: no secret, one that is no base64 or has less than 24 bytes, or a tolerance that is not above
            zero. No message holds a secret.
    """

    scheme = "StandardWebhooks"
    header_names = ("webhook-id", "webhook-timestamp", "webhook-signature")

    def __init__(self, *secrets: str, tolerance: timedelta = _TOLERANCE) -> None:
        if not secrets:
            raise InvalidOption("StandardWebhooks: no secret. Give at least one.")
        self._keys = tuple(map(_key_of, secrets))
        self._tolerance_s = seconds_of(tolerance, option="tolerance")
        if self._tolerance_s <= 0:
            raise InvalidOption("tolerance: 0 s refuses whatever took a while. Use some minutes.")

    def verify(self, headers: Headers, body: bytes, *, now: float) -> None:
        """Accept the request, or raise Unverified."""
        identity = _header(headers, "webhook-id")
        timestamp = _header(headers, "webhook-timestamp")
        given = _header(headers, "webhook-signature").split(" ")[:_MAX_SIGNATURES]
        if "." in identity:
            # It would be one text with another id and another timestamp: the parts are told apart by dots alone.
            raise Unverified("webhook-id", "has a dot in it")
        if _TIMESTAMP.fullmatch(timestamp) is None:
            raise Unverified("webhook-timestamp", "is no number of seconds since 1970")
        if abs(int(timestamp) - now) > self._tolerance_s:
            raise Unverified("webhook-timestamp", f"is not within {self._tolerance_s:g} s of now")
        signed = b"%s.%s.%s" % (_octets(identity), _octets(timestamp), body)
        fitting = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in self._keys]
        _check("webhook-signature", map(_octets, given), fitting)


class GitHub:
    """GitHub's `X-Hub-Signature-256` (HMAC-SHA256) by any of the secrets, as they were typed into its form.

    GitHub signs no time, so a recorded request is accepted for ever; it costs a rebuild and no more.

    Raises:
        InvalidOption: no secret, or one of less than 16 characters. No message holds a secret.
    """

    scheme = "GitHubSignature"
    header_names = ("x-hub-signature-256",)

    def __init__(self, *secrets: str) -> None:
        self._keys = _texts_of("GitHub", secrets)

    def verify(self, headers: Headers, body: bytes, *, now: float) -> None:  # noqa: ARG002 - no time is signed
        """Accept the request, or raise Unverified."""
        given = _header(headers, "x-hub-signature-256")
        fitting = [b"sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest().encode() for key in self._keys]
        _check("x-hub-signature-256", [_octets(given)], fitting)


class SharedSecret:
    """A header that holds one of the secrets as it is, for senders that cannot sign, such as Bugzilla.

    For `Authorization: Bearer ...` name the header `authorization`, and begin each secret with `Bearer `. It proves who
    sent a request, but not that nobody changed it on the way: use it over TLS alone.

    Raises:
        InvalidOption: no secret, or one of less than 16 characters; no header. No message holds a secret.
    """

    scheme = "SharedSecret"

    def __init__(self, header: str, *secrets: str) -> None:
        if not header.strip():
            raise InvalidOption("header: empty. Name the header that holds the secret, for example 'x-api-key'.")
        self._header = header.strip().lower()
        self._keys = _texts_of("SharedSecret", secrets)

    @property
    def header_names(self) -> tuple[str, ...]:
        """The header that holds the secret."""
        return (self._header,)

    def verify(self, headers: Headers, body: bytes, *, now: float) -> None:  # noqa: ARG002 - nothing is signed
        """Accept the request, or raise Unverified."""
        _check(self._header, [_octets(_header(headers, self._header))], self._keys)


def _header(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise Unverified(name, "required, and missing" if value is None else "required, and empty")
    return value


def _octets(text: str) -> bytes:
    """What was sent: headers are read as Latin-1, so that every byte is a character."""
    return text.encode("utf-8" if any(character > "\xff" for character in text) else "latin-1", "surrogatepass")


def _check(at: str, given: Iterable[bytes], fitting: Iterable[bytes]) -> None:
    """Accept if one is one of the others.

    Raises:
        Unverified: none is.
    """
    expected = tuple(fitting)
    # Counted, so that every pair is compared whatever came out before.
    if not sum(hmac.compare_digest(one, other) for one in given for other in expected):
        raise Unverified(at, "fits no key that is known here")


def _key_of(secret: str) -> bytes:
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        # Not `from`: the error below it may show what was given.
        raise InvalidOption(
            "StandardWebhooks: a secret is no base64. Give it as the sender shows it: 'whsec_...'."
        ) from None
    if len(key) < _MIN_SECRET_BYTES:
        msg = f"StandardWebhooks: a secret has {len(key)} bytes. Use one of {_MIN_SECRET_BYTES} or more."
        raise InvalidOption(msg)
    return key


def _texts_of(what: str, secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    if not secrets:
        raise InvalidOption(f"{what}: no secret. Give at least one.")
    for secret in secrets:
        if len(secret) < _MIN_TEXT:
            msg = f"{what}: a secret has {len(secret)} characters. Use one of {_MIN_TEXT} or more."
            raise InvalidOption(msg)
    return tuple(secret.encode() for secret in secrets)
