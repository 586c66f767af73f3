"""Access: who may follow what, asked when a stream opens and again whenever a grant may have changed.

Rules
- Pages of the same site are known by their cookies, which `authorize` reads. Pages of other sites are let in when their
  origin is named, and only with a token: a browser sends cookies along whoever wrote the page.
- A change of access is an entry of the cache, so word of it comes by the feed, in order with the values. Whoever it
  concerns is asked for again before anything later is shown.
- A token cannot be asked for again: it is older than a change, or younger. Its position says which. Where it has none,
  two clocks are compared, and what they cannot tell apart counts as older.
- What fails to answer grants nothing.
"""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import msgspec

from everfresh.asgi import Problem, Request
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import InvalidOption
from everfresh.model.position import Position

_log = logging.getLogger("everfresh.push")

_PREFIX = "everfresh.access:"
_TOKEN = "token"  # noqa: S105 - the name of a parameter
CLOCKS_DIFFER_S = 5.0
"""By no more than this do the clocks differ of who issues tokens, of this process and of the store."""
_SAME_SITE = frozenset({"same-origin", "none"})
_NO_TOKEN = Problem(
    HTTPStatus.UNAUTHORIZED,
    "Pages of another origin need a token. Add ?token=... as the application issued it.",
    at=_TOKEN,
    headers={"www-authenticate": "Bearer"},
)
_INVALID = {"www-authenticate": 'Bearer error="invalid_token"'}
# What a page of another origin may send and see beyond the little that browsers allow each.
_PREFLIGHT = {
    "access-control-allow-methods": "GET",
    "access-control-allow-headers": "authorization, last-event-id",
    "access-control-max-age": "600",
}
_FORBIDDEN = Problem(HTTPStatus.FORBIDDEN, "None of these topics may be followed from here.", at="topic")


@dataclass(frozen=True, slots=True)
class Grant:
    """What one visitor may follow.

    `user` is whom it counts for, in limits; empty: nobody in particular. `subjects` are names such as "user:42" or
    "team:7": after `access_changed` of one of them, or when a new life of the store may hide that, the visitor is asked
    for again. `expires_at`, in seconds since 1970, ends the stream.
    """

    topics: Collection[str]
    _: KW_ONLY
    user: str = ""
    subjects: Sequence[str] = ()
    expires_at: float | None = None

    def __post_init__(self) -> None:
        for option in ("topics", "subjects"):
            value = getattr(self, option)
            if isinstance(value, str):
                raise InvalidOption(f"{option}: {value!r} is one text. Write ({value!r},), with the comma.")


Answer = Grant | Collection[str] | None
Authorize = Callable[[Request, frozenset[str]], Answer | Awaitable[Answer]]
"""Answers which of the topics the request may follow: a Grant or their names; None when nobody knows who it is."""


class InvalidToken(Exception):
    """Nobody who has a key has issued this token, or it has expired."""


class Claims(msgspec.Struct, frozen=True):
    """What a token says. A topic that ends in `*` stands for all that begin like it.

    `position` is the text of the store's position that was read before it was looked up what the bearer may see.
    """

    topics: tuple[str, ...]
    expires_at: float = msgspec.field(name="exp")
    issued_at: float = msgspec.field(name="iat")
    user: str = msgspec.field(name="sub", default="")
    subjects: tuple[str, ...] = ()
    position: str = msgspec.field(name="pos", default="")

    def covers(self, topic: str) -> bool:
        """Whether the bearer may follow the topic."""
        return any(
            topic.startswith(pattern[:-1]) if pattern.endswith("*") else topic == pattern for pattern in self.topics
        )


class Tokens(Protocol):
    """Reads tokens; see `tokens.TopicTokens`."""

    def read(self, token: str) -> Claims:
        """What the token says.

        Raises:
            InvalidToken: it is none, or has expired.
        """
        ...


class Puts(Protocol):
    """What telling a change needs of a cache."""

    def put(self, key: str, value: object, /) -> Coroutine[Any, Any, None]:
        """Store a value by hand."""
        ...


class BlockingPuts(Protocol):
    """The same for synchronous code; `cache.blocking` is such."""

    def put(self, key: str, value: object, /) -> None:
        """Store a value by hand."""
        ...


class Stores(Protocol):
    """What a check needs of a cache."""

    async def stored(self, key: Key) -> Entry | None:
        """The entry as it is; never builds."""
        ...


def subject_key(subject: str) -> Key:
    """The key of the entry that changes with the access of a subject."""
    return Key(f"{_PREFIX}{subject}")


async def access_changed(cache: Puts, *subjects: str) -> None:
    """Say that what these may see has changed: every stream whose grant names one of them is checked again.

    Say it after the change is committed where `authorize` looks. It has happened once this returns: no process shows
    what is committed later before it has asked.

    Raises:
        StoreUnavailable: some may not have been told; asking again is safe.
    """
    for subject in subjects:
        # Another value each time, or it would be no change.
        await cache.put(subject_key(subject), secrets.token_hex(8))


def access_changed_blocking(cache: BlockingPuts, *subjects: str) -> None:
    """The same for synchronous code, with `cache.blocking`.

    Raises:
        StoreUnavailable: some may not have been told; asking again is safe.
    """
    for subject in subjects:
        cache.put(subject_key(subject), secrets.token_hex(8))


def origin_of(text: str) -> str:
    """An origin as browsers write it.

    Raises:
        InvalidOption: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or text != f"{parts.scheme}://{parts.netloc}".lower():
        raise InvalidOption(f"origins: {text!r} is no origin. Write it as browsers do: 'https://app.example.com'.")
    return text


def _no_origins() -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may follow what: by cookies (`authorize`), by `tokens`, and the `origins` whose pages may ask with these.

    Without `authorize` every topic is for everybody of the same site. With `tokens` alone only who has one gets any.

    Raises:
        InvalidOption: an origin is none, or there are origins and no tokens.
    """

    authorize: Authorize | None = None
    tokens: Tokens | None = None
    origins: Collection[str] = field(default_factory=_no_origins)

    def __post_init__(self) -> None:
        if isinstance(self.origins, str):
            raise InvalidOption(f"origins: {self.origins!r} is one text. Write ({self.origins!r},), with the comma.")
        for origin in self.origins:
            origin_of(origin)
        if self.origins and self.tokens is None:
            raise InvalidOption("origins: pages of other origins need tokens. Give tokens=TopicTokens(...) too.")

    async def grant(self, request: Request, names: Collection[str], cache: Stores) -> Grant | Problem:
        """What of these topics the request may follow; a problem when that is nothing.

        Raises:
            StoreError: the store does not say whether a token still holds.
        """
        headers = request.texts()
        if not self._is_let_in(headers):
            detail = f"Pages of {headers.get('origin', 'another origin')[:80]} are not let in here."
            return Problem(HTTPStatus.FORBIDDEN, detail)
        token = token_of(request)
        if self.tokens is not None and token is not None:
            granted = await _granted_by(self.tokens, token, names, cache)
        elif _is_foreign(headers) or (self.authorize is None and self.tokens is not None):
            return _NO_TOKEN
        else:
            granted = await self._authorized(request, frozenset(names))
        if isinstance(granted, Grant) and not granted.topics:
            return _FORBIDDEN
        return granted

    def headers(self, request: Request) -> Mapping[str, str]:
        """What to answer a page of another origin with; browsers show it nothing otherwise."""
        origin = request.texts().get("origin")
        if not self.origins:
            return {}
        if origin is None or origin not in self.origins:
            return {"vary": "origin"}
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": "retry-after",
            "vary": "origin",
        }

    def preflight(self, request: Request) -> Mapping[str, str] | None:
        """What to answer a browser that asks whether a page of a named origin may send its request; None: it is not."""
        headers = request.texts()
        is_asked = request.method == "OPTIONS" and "access-control-request-method" in headers
        is_named = headers.get("origin") in self.origins
        return {**self.headers(request), **_PREFLIGHT} if is_asked and is_named else None

    def _is_let_in(self, headers: Mapping[str, str]) -> bool:
        return not _is_foreign(headers) or headers.get("origin") in self.origins

    async def _authorized(self, request: Request, names: frozenset[str]) -> Grant | Problem:
        if self.authorize is None:
            return Grant(names)
        try:
            answer = self.authorize(request, names)
            answer = await answer if inspect.isawaitable(answer) else answer
            grant = answer if answer is None or isinstance(answer, Grant) else Grant(answer)
        except Exception:  # noqa: BLE001 - it is the application's, and raises what it likes
            _log.exception("authorize.failed")
            detail = "Nobody can say just now what may be followed. Come back in a few seconds."
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"retry-after": "5"})
        if grant is None:
            return Problem(HTTPStatus.UNAUTHORIZED, "Nobody knows who you are. Sign in.")
        # A hook that answers with more than was asked grants no more than that.
        return Grant(
            names.intersection(grant.topics), user=grant.user, subjects=grant.subjects, expires_at=grant.expires_at
        )


def token_of(request: Request) -> str | None:
    """The token that the request shows: in its header, or, as `EventSource` sends none, in its query."""
    scheme, _, shown = request.texts().get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and shown:
        return shown.strip()
    query = parse_qsl(request.query_string.decode("latin-1"), keep_blank_values=True)
    return next((value for name, value in query if name == _TOKEN and value), None)


async def _granted_by(tokens: Tokens, token: str, names: Collection[str], cache: Stores) -> Grant | Problem:
    try:
        claims = tokens.read(token)
    except InvalidToken as error:
        detail = f"{error} Ask the application for another."
        return Problem(HTTPStatus.UNAUTHORIZED, detail, at=_TOKEN, headers=_INVALID)
    for subject in claims.subjects:
        changed = await cache.stored(subject_key(subject))
        if changed is not None and (problem := _outdated(claims, changed)) is not None:
            return problem
    granted = frozenset(name for name in names if claims.covers(name))
    return Grant(granted, user=claims.user, subjects=claims.subjects, expires_at=claims.expires_at)


def _outdated(claims: Claims, changed: Entry) -> Problem | None:
    """Why the token counts as older than the change of access, after which it says what its bearer could see."""
    early_s = changed.built_at + CLOCKS_DIFFER_S - claims.issued_at
    position = Position.parse(claims.position) if claims.position else None
    is_older = early_s >= 0 if position is None else not position.covers(changed.changed_at)
    if not is_older:
        return None
    detail = "The token is older than a change of access. Ask the application for another."
    headers = dict(_INVALID)
    if position is None and early_s < CLOCKS_DIFFER_S:
        # One that is issued after so many seconds will do.
        headers["retry-after"] = str(int(early_s) + 1)
        detail = (
            "The token was issued so soon after a change of access that it may be older: clocks differ. "
            f"Ask the application for another in {headers['retry-after']} s, or for one with a position."
        )
    return Problem(HTTPStatus.UNAUTHORIZED, detail, at=_TOKEN, headers=headers)


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin asks. What is no browser says nothing of that, and has no cookies to misuse."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _SAME_SITE
    origin = headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:
        # No browser writes that.
        return True
