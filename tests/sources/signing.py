"""Signatures made by the letter of their descriptions, and not by the code that checks them."""

import base64
import hashlib
import hmac

NOW = 1_700_000_000.0
KEYS = (bytes(range(24)), bytes(range(40, 72)))
SECRETS = tuple("whsec_" + base64.b64encode(key).decode() for key in KEYS)
GITHUB_SECRETS = ("It's a Secret to Everybody", "another secret of theirs")


def standard_headers(
    body: bytes, *, key: bytes = KEYS[0], identity: str = "msg_1", timestamp: float = NOW
) -> dict[str, str]:
    """The headers with which a sender of Standard Webhooks signs the body."""
    signed = f"{identity}.{int(timestamp)}.".encode("latin-1") + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(int(timestamp)),
        "webhook-signature": f"v1,{signature}",
    }


def github_headers(body: bytes, secret: str = GITHUB_SECRETS[0]) -> dict[str, str]:
    """The header with which GitHub signs the body."""
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
