"""Addresses of sources: a URL taken apart, so that nothing in it is overlooked and its password is never shown."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import SplitResult, unquote, urlsplit

from everfresh.model.errors import InvalidOption

_SECRET = re.compile(r"(://[^\s/:@]*):\S*@")
# With no password beside it, a user may be one: NATS takes tokens so.
_TOKEN = re.compile(r"://[^\s/:@]+@")
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class SourceUrl:
    """A source's URL. Each query parameter is taken once by whoever knows it; what is left over is an error.

    Raises:
        InvalidOption: it is no URL, its port is no number, or it has a `#`, after which a URL names nothing more.
    """

    def __init__(self, url: str) -> None:
        # What is wrong is never quoted: it may hold a password.
        try:
            parts = urlsplit(url)
            # Of several hosts each has its own: see `authority`.
            port = None if "," in parts.netloc else parts.port
        except ValueError:
            raise InvalidOption("source: this is no URL. Write 'amqp://user:password@host/vhost'.") from None
        if not parts.scheme or "://" not in url:
            raise InvalidOption("source: this is no URL. Write 'amqp://user:password@host/vhost'.")
        if "#" in url:
            # A topic pattern, most likely: all that follows would be passed over in silence.
            raise InvalidOption("source: a '#' ends a URL. Write %23 in its place.")
        self._parts: SplitResult = parts
        self.scheme = parts.scheme
        self.user = None if parts.username is None else unquote(parts.username)
        self.password = None if parts.password is None else unquote(parts.password)
        self.host = parts.hostname or ""
        self.port = port
        self.path = unquote(parts.path.removeprefix("/"))
        """Unquoted, without the slash before it."""
        self._options: dict[str, list[str]] = {}
        for option in filter(None, parts.query.split("&")):
            name, _, value = option.partition("=")
            # A `+` is one: only forms write blanks so, and MQTT has it in patterns.
            self._options.setdefault(unquote(name), []).append(unquote(value))

    def __repr__(self) -> str:
        return f"SourceUrl({self.without_password!r})"

    @property
    def without_password(self) -> str:
        """The URL for people and logs: no password, no parameters; a user only where a password stands beside it."""
        # Alone it may be a token.
        user = f"{self._parts.username}@" if self._parts.username and self._parts.password else ""
        host = self._parts.netloc.rpartition("@")[2]
        return f"{self.scheme}://{user}{host}{self._parts.path}"

    @property
    def authority(self) -> str:
        """User, password, host and port, as they are written; never for people."""
        return self._parts.netloc

    def take_all(self, option: str) -> tuple[str, ...]:
        """The values of a parameter that may be given several times, empty when it is not."""
        return tuple(self._options.pop(option, ()))

    def take(self, option: str) -> str | None:
        """The value of a parameter, None when it is not given.

        Raises:
            InvalidOption: it is given twice, or empty.
        """
        values = self.take_all(option)
        if len(values) > 1 or values == ("",):
            raise self._wrong(option, "is given twice" if len(values) > 1 else "is empty", "Give it once")
        return next(iter(values), None)

    def take_number(self, option: str, *, least: int = 0) -> int | None:
        """The whole number of a parameter.

        Raises:
            InvalidOption: it is no whole number, or less than `least`.
        """
        text = self.take(option)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal()) or int(text[:18]) < least:
            raise self._wrong(option, f"is {text[:40]!r}", f"Use a whole number from {least} on")
        return int(text[:18])

    def take_flag(self, option: str) -> bool | None:
        """The yes or no of a parameter.

        Raises:
            InvalidOption: it is neither.
        """
        text = self.take(option)
        if text is None:
            return None
        if text.lower() not in _YES | _NO:
            raise self._wrong(option, f"is {text[:40]!r}", "Use true or false")
        return text.lower() in _YES

    def take_duration(self, option: str) -> timedelta | None:
        """The duration of a parameter: seconds, or with a unit (`500ms`, `30s`, `5m`, `1h`, `7d`).

        Raises:
            InvalidOption: it is none.
        """
        text = self.take(option)
        if text is None:
            return None
        found = _DURATION.fullmatch(text)
        if found is None:
            raise self._wrong(option, f"is {text[:40]!r}", "Use seconds, or a number with ms, s, m, h or d")
        return timedelta(seconds=float(found[1]) * _UNITS_S[found[2] or ""])

    def check_taken(self) -> None:
        """Nothing is left over.

        Raises:
            InvalidOption: a parameter that nobody knows.
        """
        if self._options:
            names = ", ".join(sorted(self._options))
            raise InvalidOption(f"source {self.without_password}: nothing here is called {names}. Is it misspelt?")

    def _wrong(self, option: str, what: str, instead: str) -> InvalidOption:
        return InvalidOption(f"source {self.without_password}: {option} {what}. {instead}.")


def scrubbed(text: str) -> str:
    """The text without the passwords of URLs in it."""
    return _TOKEN.sub("://***@", _SECRET.sub(r"\1:***@", text))


def told(error: BaseException) -> str:
    """An error in one line for people, without the passwords of URLs in it."""
    text = scrubbed(str(error)).strip()
    lines = text.splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
