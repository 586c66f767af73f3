"""Tokens: what pages of other origins show instead of a cookie. JSON Web Tokens (RFC 7519), signed with HS256.

    {"sub": "42", "topics": ["builds", "issue:*"], "subjects": ["user:42"], "iat": 1763800000.5, "exp": 1763800600,
     "pos": "0f3c.17", "aud": "everfresh"}

Any language can issue them: only the application and this process know the keys. A key is named by `kid`, so that a new
one can be added first, then used, and the old one taken away once its last token has expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Any

import msgspec

from everfresh.model.clock import Clock, seconds_of, wall_clock
from everfresh.model.errors import InvalidOption
from everfresh.model.position import Position
from everfresh.push.access import CLOCKS_DIFFER_S, Claims, InvalidToken

try:
    import jwt
except ModuleNotFoundError as error:
    # There is another library of that name.
    raise ModuleNotFoundError("Tokens need PyJWT: pip install 'everfresh[web]'.", name="jwt") from error

_ALGORITHM = "HS256"
_AUDIENCE = "everfresh"
# RFC 7518, 3.2: a key has at least as many bytes as the hash.
_MIN_KEY_BYTES = 32
_MAX_TOKEN_BYTES = 8_192
_LIFETIME = timedelta(minutes=10)


class TopicTokens:
    """Issues and reads tokens. `keys` are secrets by name; the last one signs, and each is accepted.

    A token is good for `lifetime`, and no stream that it opened lasts longer; one that somebody else issued for longer
    than `lifetime` is refused.

    Raises:
        InvalidOption: no key, one of less than 32 bytes, or a lifetime that is not above zero. No message holds a key.
    """

    def __init__(
        self, keys: Mapping[str, str | bytes], *, lifetime: timedelta = _LIFETIME, clock: Clock = wall_clock
    ) -> None:
        self._keys = {name: key.encode() if isinstance(key, str) else key for name, key in keys.items()}
        if not self._keys:
            raise InvalidOption("keys: no key. Give one, as {'2026-11': secrets.token_hex(32)}.")
        for name, key in self._keys.items():
            if len(key) < _MIN_KEY_BYTES:
                raise InvalidOption(f"keys: {name!r} is shorter than 32 bytes. Make one by secrets.token_hex(32).")
        self._lifetime_s = seconds_of(lifetime, option="lifetime")
        if not 0 < self._lifetime_s < inf:
            raise InvalidOption(f"lifetime: {lifetime!r} is no lifetime. Use some minutes.")
        self._clock = clock

    def issue(
        self, *topics: str, user: str = "", subjects: Sequence[str] = (), position: Position | None = None
    ) -> str:
        """A token for these topics; one that ends in `*` stands for all that begin like it.

        After `access_changed` of one of the `subjects` it is worth nothing. Give the store's `position`, read before it
        was looked up what may be seen: then it is known which of the two came first. Else two clocks say so, and what
        is issued in the first five seconds after a change is refused too.
        """
        now = self._clock()
        claims: dict[str, Any] = {
            "aud": _AUDIENCE,
            "sub": user,
            "topics": topics,
            "subjects": tuple(subjects),
            "iat": now,
            "exp": now + self._lifetime_s,
        }
        if position is not None:
            claims["pos"] = position.text
        name = next(reversed(self._keys))
        return jwt.encode(claims, self._keys[name], algorithm=_ALGORITHM, headers={"kid": name})

    def read(self, token: str) -> Claims:
        """What the token says.

        Raises:
            InvalidToken: it is none of ours, or has expired.
        """
        if len(token) > _MAX_TOKEN_BYTES:
            raise InvalidToken("The token is too long.")
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise InvalidToken("The token's key is not known.")
            # Its time is looked at below, by our clock.
            told = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "aud"]},
            )
            claims = msgspec.convert(told, Claims)
            if claims.position:
                Position.parse(claims.position)
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError) as error:
            raise InvalidToken("The token is not valid.") from error
        now = self._clock()
        # Each asks for what has to hold, as JSON of Python's kind knows numbers that are above and below none.
        if not claims.expires_at > now:
            raise InvalidToken("The token has expired.")
        if not claims.expires_at <= now + self._lifetime_s + CLOCKS_DIFFER_S:
            raise InvalidToken("The token is good for longer than any may be.")
        if not claims.issued_at <= now + CLOCKS_DIFFER_S:
            raise InvalidToken("The token was issued in the future, by a clock that is not ours.")
        return claims
